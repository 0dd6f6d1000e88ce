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
# Where backups go until another place is set, best another disk's mount point.
BACKUP_STATE=$prefix/var/lib/amda-backup
LOGS=$prefix/var/log/amda
LOG=$LOGS/install.log
# What a former run was told, so that a later one need not be told again.
CHOICES=$ETC/install.conf
# The settings that we would have written, for whoever has edited them.
DEFAULTS=$ETC/.defaults.toml
# What we wrote and with which content: anything else has been edited, and is kept.
WRITTEN=$ETC/.written

# In the order in which they start; the object store comes before them where there is one.
SERVICES='amda-redis.service amda-sessions.service amda.service'
STORE=amda-minio.service
TARGET=amda.target
# What daemon and Redis are kept in.
SLICE=amda.slice
BACKUP=amda-backup.service
TIMER=amda-backup.timer
# When it ran last, as systemd notes it.
TIMER_STAMP=$prefix/var/lib/systemd/timers/stamp-$TIMER

# The files that make a release.
RELEASE_PARTS='install.sh pyproject.toml requirements.lock README.md CHANGELOG.md appliance tui systemd provisioning scripts docs'

# sixty sessions need 1.4 GB; a machine of "1 GB" has less, and holds some twenty.
MEMORY_FLOOR_MB=900
MEMORY_WANTED_MB=1800
# The environment has 500 MB, each further release the same while it is made.
DISK_FLOOR_MB=2000
# A clock before this day is wrong: certificates would be refused, and codes would be dead before they are shown.
CLOCK_FLOOR=1790812800
# Media may take this much of the disk that holds it; system, releases, databases and what sessions remember need the
# rest: some 10 GB for sixty of them.
QUOTA_PERCENT=40
# The least for an S3 elsewhere: what the appliance itself takes where nothing is set.
S3_QUOTA_MB=10240
# Where the object store listens: nobody beyond this machine reaches it.
MINIO_ADDRESS=${AMDA_MINIO_ADDRESS-127.0.0.1:9000}
MINIO_BUCKET=amda-media
# What lets its root in until it is set up, and the sign that it may still be in. A reboot takes both away, and root out.
STORE_DROP_IN=$prefix/run/systemd/system/$STORE.d
STORE_OPENED=$prefix/run/amda-minio-root
# Silo, the maintained server of the MinIO API (https://github.com/pgsty/silo), and what its archives must be.
SILO_RELEASE=RELEASE.2026-09-16T00-00-00Z
SILO_VERSION=20260916000000.0.0
SILO_URL=https://github.com/pgsty/silo/releases/download/$SILO_RELEASE
SILO_SHA256_x86_64=381e745510a8fb64323d7bb3207f95984b7f4ed826f4fcad318f97683c420c73
SILO_SHA256_aarch64=6e697d3e1d70f2343fe829cd6820a0b840d4619f1dde546424de80e529636ed2
# Until the daemon answers after its start: it waits for nothing, but a small machine may be busy.
HEALTHY_WITHIN_S=60
