#!/bin/bash
# Builds a root like Lambda's and runs a command in it. Meant to be run in private mount and PID
# namespaces: what is mounted here is gone when the command ends.
#
#   usage: lambda_root.sh ROOT COMMAND...
#
# From the environment:
#   TASK_ROOT  becomes /var/task, read-only      OPT        becomes /opt, read-only (may be empty)
#   PREFIX     a Python's prefix, /var/lang;     LIBRARIES  links to what lies in /var/runtime
#              empty: no Python is to be seen    OUTPUT     a folder to write to, /mnt/output
#   EMULATOR   the emulator's program, /usr/local/bin is not touched: it lies at /emulator
set -euo pipefail

root=$1
shift

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"

show() { # show FROM TO: FROM appears at TO, inside the root
    if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root$(dirname "$2")" && touch "$root$2"; fi
    mount --bind "$1" "$root$2"
}

freeze() { # freeze DIRECTORY: nobody writes to it from here on
    mount -o remount,bind,ro "$root$1" || echo "lambda_root: $1 stays writable" >&2
}

for directory in bin sbin lib lib64; do
    if [ -L "/$directory" ]; then
        cp -P "/$directory" "$root/$directory"
    elif [ -d "/$directory" ]; then
        show "/$directory" "/$directory"
    fi
done
show /usr /usr
show /etc /etc
mkdir -p "$root"/{dev,proc,tmp,opt,mnt,var/task,var/lang,var/runtime}

for device in null zero full random urandom; do
    show "/dev/$device" "/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
mount -t proc proc "$root/proc"
mount -t tmpfs -o size=512m,mode=1777 tmpfs "$root/tmp"

printf '127.0.0.1 localhost sandbox sandbox.localdomain\n' > "$OUTPUT/hosts"
show "$OUTPUT/hosts" /etc/hosts
show "$OUTPUT" /mnt/output
show "$EMULATOR" /emulator
show "$TASK_ROOT" /var/task
[ -z "$OPT" ] || show "$OPT" /opt

if [ -n "$PREFIX" ]; then
    show "$PREFIX" /var/lang
    for link in "$LIBRARIES"/*; do
        show "$(readlink -f "$link")" "/var/runtime/$(basename "$link")"
        freeze "/var/runtime/$(basename "$link")"
    done
else
    for python in "$root"/usr/bin/python3* "$root"/usr/local/bin/python3*; do
        [ ! -f "$python" ] || mount --bind /dev/null "$python"
    done
fi

# The function's output goes to a file, so that it can be told from the extensions'. The handler is
# read behind the wrapper, which may have put another one in its place.
cat > "$root/var/runtime/bootstrap" << 'BOOTSTRAP'
#!/bin/sh
if [ -n "${AWS_LAMBDA_MAX_CONCURRENCY:-}" ]; then
    mkfifo /mnt/output/function.lines # AWS's emulator reads these lines too, and passes them on
    tee -a /mnt/output/function.log < /mnt/output/function.lines &
    exec > /mnt/output/function.lines 2>&1
else
    exec >> /mnt/output/function.log 2>&1
fi
[ ! -x /var/task/bootstrap ] || exec ${AWS_LAMBDA_EXEC_WRAPPER:-} /var/task/bootstrap
exec ${AWS_LAMBDA_EXEC_WRAPPER:-} /var/lang/bin/python3 -s -c '
import os, sys
sys.path[0] = os.getcwd()
from awslambdaric.__main__ import main
main(["awslambdaric", os.environ["_HANDLER"]])'
BOOTSTRAP
chmod 755 "$root/var/runtime/bootstrap"

freeze /usr
freeze /etc
freeze /var/task
[ -z "$OPT" ] || freeze /opt
[ -z "$PREFIX" ] || freeze /var/lang
mount -o remount,ro "$root"

unset TASK_ROOT OPT PREFIX LIBRARIES OUTPUT EMULATOR
exec chroot "$root" /bin/sh -c 'cd /var/task && exec "$@"' sh "$@"
