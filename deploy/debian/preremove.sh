#!/bin/sh
# Stops the services, unless the package is only replaced by another version of it.
set -e
[ "$1" = remove ] || exit 0
if [ -d /run/systemd/system ]; then
	systemctl --quiet disable --now rota-backup.timer rota-worker.service rota-server.service || true
fi
