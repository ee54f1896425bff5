/* The hub: one libwebsockets context on the owner's loop, one timer for every deadline of its links. */
#include "core/run/link_internal.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STALL_MS 300
/* libwebsockets ends its libuv handles over several turns of the loop without telling when it has; one tick is at least one
 * turn. */
#define STOP_TICKS   5
#define STOP_TICK_MS 1

static const struct lws_protocols protocols[] = {
        {.name = "http",
         .callback = link_http_callback,
         .per_session_data_size = LINK_HTTP_SESSION_SIZE,
         .rx_buffer_size = 4096},
        {.name = LINK_PROTOCOL, .callback = link_peer_callback, .rx_buffer_size = 65536},
        {.name = NULL},
};

/* It complains of every connection that fails; what matters of that is said by refusal_note, once. */
static void emit_log(int level, const char *line)
{
	size_t len = strcspn(line, "\n");

	(void)level;
	log_debug("libwebsockets", "%.*s", (int)len, line);
}

static struct lws_context_creation_info describe_context(struct link_hub *l, void **loops)
{
	struct lws_context_creation_info i = {
	        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
	        .protocols = protocols,
	        .gid = (gid_t)-1,
	        .uid = (uid_t)-1,
	        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
	        .foreign_loops = loops,
	        .user = l,
	        .pcontext = &l->context,
	        .fd_limit_per_thread = LINK_CONNS_MAX + 64,
	        .max_http_header_pool2 =
	                LINK_CONNS_MAX + 64, /* a waiting request keeps its headers; links must not queue behind it */
	        .timeout_secs = 10,
	        .keepalive_timeout = 30,
	        .server_string = "mhad",
	        .vhost_name = "node",
	        .alpn = "http/1.1",
	};

	return i;
}

int link_make_vhost(struct link_hub *l, struct lws_vhost **ret, struct err *e)
{
	void *loops[1] = {l->loop};
	struct lws_context_creation_info i = describe_context(l, loops);

	/* Without this libwebsockets would read all of the system's CAs for a client context that nobody uses, and leak it. */
	if (ret == &l->vhost)
		i.options &= ~(uint64_t)LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
	if (ret == &l->secure) {
		i.vhost_name = "secure";
		i.options |= LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
		i.provided_client_ssl_ctx = l->client_ctx;
	}
	*ret = lws_create_vhost(l->context, &i);
	return *ret != NULL ? ERR_OK : err_set(e, ERR_IO, "libwebsockets: no virtual host \"%s\"", i.vhost_name);
}

static int create_context(struct link_hub *l, struct err *e)
{
	void *loops[1] = {l->loop};
	struct lws_context_creation_info i = describe_context(l, loops);

	lws_set_log_level(LLL_ERR | LLL_WARN, emit_log);
	l->context = lws_create_context(&i);
	if (l->context == NULL)
		return err_set(e, ERR_IO,
		               "libwebsockets does not start: is its libuv plugin (libwebsockets-evlib-uv) installed?");
	return link_make_vhost(l, &l->vhost, e);
}

static void free_hub(struct link_hub *l)
{
	SSL_CTX_free(l->client_ctx);
	tls_free(l->tls);
	free(l->hello);
	free(l);
}

static void on_tick_closed(uv_handle_t *handle)
{
	free_hub(handle->data);
}

/* libwebsockets 4.1.6 closes its event descriptor twice: here, and when libuv has closed its handle, later in this turn of the
 * loop. By then the number may be somebody else's, so something of no value is put in its place to be closed. */
static void destroy_context(struct lws_context *context)
{
	bool was_open[LINK_CONNS_MAX * 2];
	int fd, plug;

	for (fd = 0; fd < LINK_CONNS_MAX * 2; fd++)
		was_open[fd] = fcntl(fd, F_GETFD) >= 0;
	lws_context_destroy(context);
	for (fd = 0; fd < LINK_CONNS_MAX * 2; fd++) {
		if (!was_open[fd] || fcntl(fd, F_GETFD) >= 0)
			continue;
		plug = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (plug >= 0 && plug != fd) {
			(void)dup3(plug, fd, O_CLOEXEC);
			close(plug);
		}
	}
}

/* From the timer, because link_stop may be called from inside a libwebsockets callback, where nothing may be destroyed. */
static void go_on_stopping(struct link_hub *l)
{
	if (l->stop_ticks++ == 0) {
		if (l->context != NULL)
			destroy_context(l->context);
		return;
	}
	if (l->stop_ticks < STOP_TICKS || l->open_handles > 0)
		return;
	if (l->context != NULL)
		lws_context_destroy(l->context); /* the second call frees what the first has begun to end */
	uv_close((uv_handle_t *)&l->tick, on_tick_closed);
}

static void on_tick(uv_timer_t *timer)
{
	struct link_hub *l = timer->data;
	int64_t now = clock_now_ms();
	bool was_stalled = now - l->ticked_ms > STALL_MS;

	l->ticked_ms = now;
	if (l->is_stopping)
		go_on_stopping(l);
	else {
		link_tls_tick(l, now);
		link_peers_tick(l, now, was_stalled);
		refusals_tick(l, now);
	}
}

int link_start(uv_loop_t *loop, const struct config *c, const struct link_handlers *h, struct link_hub **ret, struct err *e)
{
	struct link_hub *l = mem_alloc(sizeof *l);
	int rc;

	l->loop = loop;
	l->config = c;
	l->h = *h;
	l->listeners[0].fd = l->listeners[1].fd = l->listeners[2].fd = -1;
	l->is_tls_off = tls_is_off(c);
	l->hello = mem_strdup("{}");
	l->ticked_ms = clock_now_ms();
	uv_timer_init(loop, &l->tick);
	l->tick.data = l;
	link_peers_changed(l);
	rc = create_context(l, e);
	if (rc == ERR_OK)
		rc = link_listen_local(l, e);
	if (rc == ERR_OK)
		rc = link_open(l, e);
	if (rc != ERR_OK && (rc != ERR_NOTFOUND || l->is_tls_off)) {
		link_stop(l);
		return rc;
	}
	uv_timer_start(&l->tick, on_tick, 0, LINK_TICK_MS);
	*ret = l;
	return ERR_OK;
}

void link_stop(struct link_hub *l)
{
	if (l == NULL || l->is_stopping)
		return;
	l->is_stopping = true;
	link_unlisten(l);
	link_peers_stop(l);
	link_http_stop(l);
	uv_timer_start(&l->tick, on_tick, STOP_TICK_MS, STOP_TICK_MS);
}

void link_set_hello(struct link_hub *l, const char *json)
{
	free(l->hello);
	l->hello = mem_strdup(json);
}
