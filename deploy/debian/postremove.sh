#!/bin/sh
# Purge removes what the package has made. The data stays: it may be all that is left of a cluster.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
[ "$1" = purge ] || exit 0
for dir in /var/lib/rota /var/lib/rota-worker /var/backups/rota /etc/rota; do
	[ ! -e "$dir" ] || rmdir --ignore-fail-on-non-empty "$dir"
	[ ! -e "$dir" ] || echo "rota: $dir has data and stays; remove it by hand"
done
