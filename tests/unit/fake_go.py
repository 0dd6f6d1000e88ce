"""Stands in for Go where MinIO is built: notes its calls, and makes a program that says so."""

from __future__ import annotations

GO = """\
#!/bin/sh
echo "go $*" >>"$CALLS"
case $1 in
    version) echo "go version go1.${FAKE_GO_MINOR:-26}.6 linux/amd64" ;;
    install)
        if [ -n "${FAKE_GO_ERROR-}" ]; then echo "$FAKE_GO_ERROR" >&2; exit 1; fi
        printf '#!/bin/sh\\necho built\\n' >"$GOBIN/minio" 2>/dev/null ||
            { mkdir -p "$GOBIN" && printf '#!/bin/sh\\necho built\\n' >"$GOBIN/minio"; }
        chmod +x "$GOBIN/minio"
        ;;
esac
"""
BUILT = "#!/bin/sh\necho built\n"
"""The program that it makes."""
