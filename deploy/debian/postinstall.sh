#!/bin/sh
# Makes the users. It starts nothing: a server must know the others first.
set -e
[ "$1" = configure ] || exit 0
for user in rota rota-worker; do
	getent passwd "$user" >/dev/null || useradd --system --user-group --no-create-home --home-dir "/var/lib/$user" \
		--shell /usr/sbin/nologin --comment "Rota" "$user"
done
install -d -m 0700 /var/backups/rota
# Both services read the configuration; their keys are readable for their own users only.
chmod 0755 /etc/rota
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	if [ -n "$2" ] && systemctl --quiet is-active rota-server.service; then
		# Not by itself: machines that are upgraded together would all restart at once.
		echo "rota: the server still runs the old version; restart one server after the other: systemctl restart rota-server"
	fi
fi
