#include "core/run/store_watch.h"

#include "core/run/restart.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EVERY_MS  2000
#define SILENT_MS 8000

void store_watch_done(struct store_watch *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

static void knock(struct store_watch *w, const struct config *c, int64_t now_ms)
{
	static const unsigned char ssl_request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct ucred peer = {0};
	socklen_t size = sizeof peer;

	w->next_ms = now_ms + EVERY_MS;
	if (snprintf(sa.sun_path, sizeof sa.sun_path, "%s/.s.PGSQL.%u", c->run_dir, c->ports.sql) >= (int)sizeof sa.sun_path)
		return;
	w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (w->fd < 0)
		return;
	/* A queue that is full (EAGAIN) says nothing by itself: the knocks before it are what counts. */
	if (connect(w->fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
	    getsockopt(w->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
	    send(w->fd, ssl_request, sizeof ssl_request, MSG_NOSIGNAL) != (ssize_t)sizeof ssl_request) {
		store_watch_done(w);
		return;
	}
	w->peer_pid = peer.pid;
	w->asked_ms = now_ms;
}

void store_watch_tick(struct store_watch *w, const struct config *c, int64_t now_ms)
{
	char why[64], answer;

	if (w->fd < 0) {
		if (now_ms >= w->next_ms)
			knock(w, c, now_ms);
		return;
	}
	/* An answer, or its end: either way somebody is there, or nobody. */
	if (recv(w->fd, &answer, 1, 0) >= 0 || (errno != EAGAIN && errno != EINTR)) {
		store_watch_done(w);
		return;
	}
	if (now_ms - w->asked_ms < SILENT_MS)
		return;
	snprintf(why, sizeof why, "has not answered for %d s", SILENT_MS / 1000);
	restart_ask("stored", w->peer_pid, why);
	store_watch_done(w);
}
