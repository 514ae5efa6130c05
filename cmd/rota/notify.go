package main

import (
	"log/slog"
	"net"
	"time"
)

// What a process tells systemd, if its unit has Type=notify: that it serves, and that it is about to end.
const (
	notifyReady    = "READY=1"
	notifyStopping = "STOPPING=1"
)

// notifyTimeout bounds one message to systemd. It waits only while the queue of the socket is full.
const notifyTimeout = time.Second

// notify sends a message to systemd. It does nothing if this process is no service of systemd.
func (a *app) notify(log *slog.Logger, message string) {
	socket := a.env("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	if err := sendTo(socket, message); err != nil {
		log.Warn("systemd was not told", "message", message, "error", err)
	}
}

func sendTo(socket, message string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(message))
	return err
}
