# shellcheck shell=sh
# shellcheck disable=SC2034  # the other files use these
# places.sh: where everything lies on a server, and every figure of the installation. Sourced by server.sh.

# A folder to install below instead of /: for images and for tests.
prefix=${AMDA_INSTALL_PREFIX-}

OPT=$prefix/opt/amda
RELEASES=$OPT/releases
CURRENT=$OPT/current
ETC=$prefix/etc/amda
SECRETS=$ETC/secrets
UNITS=$prefix/etc/systemd/system
JOURNALD=$prefix/etc/systemd/journald.conf.d
BIN=$prefix/usr/local/bin
STATE=$prefix/var/lib/amda
REDIS_STATE=$prefix/var/lib/amda-redis
MINIO_STATE=$prefix/var/lib/amda-minio
LOGS=$prefix/var/log/amda
LOG=$LOGS/install.log
# What a former run was told, so that a later one need not be told again.
CHOICES=$ETC/install.conf
# What we wrote and with which content: anything else has been edited, and is kept.
WRITTEN=$ETC/.written

# In the order in which they start.
SERVICES='amda-redis.service amda-sessions.service amda.service'
TARGET=amda.target

# The files that make a release.
RELEASE_PARTS='install.sh pyproject.toml requirements.lock README.md CHANGELOG.md appliance tui systemd provisioning scripts docs'

# sixty sessions need 1.4 GB; a machine of "1 GB" has less, and holds some twenty.
MEMORY_FLOOR_MB=900
MEMORY_WANTED_MB=1800
# The environment has 500 MB, each further release the same while it is made.
DISK_FLOOR_MB=2000
# A clock before this day is wrong: certificates would be refused, and codes would be dead before they are shown.
CLOCK_FLOOR=1790812800
# Until the daemon answers after its start: it waits for nothing, but a small machine may be busy.
HEALTHY_WITHIN_S=60
