#include "shell/http.h"

#include "shell/interrupt.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_NODES          16
#define MAX_REDIRECTS      3
#define MAX_BODY_BYTES     (64U << 20)
#define DEFAULT_PORT       "7400"
#define CONNECT_TIMEOUT_MS 1000L
#define SOCKET_TIMEOUT_MS  5000

struct http {
	CURL *curl;
	struct curl_slist *headers;
	char bases[MAX_NODES][HTTP_URL_SIZE];
	unsigned base_count;
	unsigned preferred; /* the one that answered last */
	struct buf hosts;
};

/* How far one request to one URL came. */
enum hop { HOP_ANSWERED, HOP_NOT_SENT, HOP_SENT };

/* "n1", "n1:7400", "http://n1" -> "http://n1:7400". */
static int normalise(CURLU *u, const char *text, struct http *h, struct err *e)
{
	char *base = NULL, *host = NULL, *port = NULL;
	char with_scheme[HTTP_URL_SIZE];
	int rc = ERR_OK;

	snprintf(with_scheme, sizeof with_scheme, "%s%s", strstr(text, "://") == NULL ? "http://" : "", text);
	if (curl_url_set(u, CURLUPART_URL, with_scheme, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		return err_set(e, ERR_INVAL, "--node: \"%s\" is not a URL like http://n1:" DEFAULT_PORT, text);
	if (curl_url_get(u, CURLUPART_PORT, &port, 0) != CURLUE_OK)
		curl_url_set(u, CURLUPART_PORT, DEFAULT_PORT, 0);
	curl_url_set(u, CURLUPART_PATH, "", 0);
	if (curl_url_get(u, CURLUPART_URL, &base, 0) != CURLUE_OK || strlen(base) >= HTTP_URL_SIZE) {
		rc = err_set(e, ERR_INVAL, "--node: \"%s\" cannot be used", text);
	} else {
		base[strlen(base) - (base[strlen(base) - 1] == '/')] = '\0';
		str_copy(h->bases[h->base_count++], HTTP_URL_SIZE, base);
		/* libpq wants IPv6 without brackets */
		host[strcspn(host, "]")] = '\0';
		buf_printf(&h->hosts, "%s%s", h->hosts.len > 0 ? "," : "", host + (host[0] == '['));
	}
	curl_free(base);
	curl_free(host);
	curl_free(port);
	return rc;
}

static int add_bases(struct http *h, const char *nodes, struct err *e)
{
	char *copy = mem_strdup(nodes), *save = NULL, *text;
	CURLU *u;
	int rc = ERR_OK;

	for (text = strtok_r(copy, ", ", &save); rc == ERR_OK && text != NULL; text = strtok_r(NULL, ", ", &save)) {
		u = curl_url();
		rc = h->base_count == MAX_NODES ? err_set(e, ERR_INVAL, "--node: more than %d URLs", MAX_NODES)
		                                : normalise(u, text, h, e);
		curl_url_cleanup(u);
	}
	if (rc == ERR_OK && h->base_count == 0)
		rc = err_set(e, ERR_INVAL, "--node: no URL in \"%s\"", nodes);
	free(copy);
	return rc;
}

int http_new(const char *nodes, struct http **ret, struct err *e)
{
	struct http *h = mem_alloc(sizeof *h);
	int rc;

	h->curl = curl_easy_init();
	h->headers = curl_slist_append(NULL, "Content-Type: application/json");
	rc = add_bases(h, nodes, e);
	if (rc == ERR_OK && (h->curl == NULL || h->headers == NULL))
		rc = err_set(e, ERR_NOMEM, "libcurl cannot be initialised");
	if (rc != ERR_OK) {
		http_free(h);
		return rc;
	}
	*ret = h;
	return ERR_OK;
}

void http_free(struct http *h)
{
	if (h == NULL)
		return;
	curl_easy_cleanup(h->curl);
	curl_slist_free_all(h->headers);
	buf_done(&h->hosts);
	free(h);
}

const char *http_hosts(const struct http *h)
{
	return h->hosts.data;
}

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
	struct buf *b = arg;

	if (b->len + size * count > MAX_BODY_BYTES)
		return 0;
	buf_add(b, data, size * count);
	return size * count;
}

/* A node that dies while we wait for its answer is noticed by the kernel: by missing acknowledgements, or by keep-alive probes.
 */
static int set_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	int on = 1, probe_s = 2, probes = 3, user_ms = SOCKET_TIMEOUT_MS;

	(void)arg;
	(void)purpose;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &probe_s, sizeof probe_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &probe_s, sizeof probe_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms, sizeof user_ms);
	return CURL_SOCKOPT_OK;
}

/* Called often while a request runs: Ctrl-C at the prompt ends the waiting, not the shell. */
static int look_at_interrupt(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	(void)arg, (void)a, (void)b, (void)c, (void)d;
	return interrupt_is_set();
}

static void set_request(struct http *h, const char *url, const struct http_request *r, struct buf *body)
{
	CURL *c = h->curl;

	curl_easy_reset(c); /* keeps the connections */
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_PROXY, ""); /* nodes are asked directly, whatever $http_proxy says */
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, CONNECT_TIMEOUT_MS + r->timeout_ms);
	curl_easy_setopt(c, CURLOPT_SOCKOPTFUNCTION, set_socket);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, h->headers);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, look_at_interrupt);
	if (r->body != NULL) {
		/* A kept connection that the node has closed meanwhile would make libcurl send the POST twice: take a new one.
		 */
		curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->body);
	}
}

/* One request to one URL, no redirects followed. */
static enum hop send_hop(struct http *h, const char *url, const struct http_request *r, struct http_reply *reply, struct err *e)
{
	curl_off_t sending_us = 0;
	CURLcode code;

	buf_clear(&reply->body);
	set_request(h, url, r, &reply->body);
	code = curl_easy_perform(h->curl);
	if (code == CURLE_OK) {
		curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &reply->status);
		return HOP_ANSWERED;
	}
	/* This time is set when the connection stands and the request is about to be sent. */
	curl_easy_getinfo(h->curl, CURLINFO_PRETRANSFER_TIME_T, &sending_us);
	if (sending_us == 0 && code == CURLE_OPERATION_TIMEDOUT)
		err_set(e, ERR_UNREACHABLE, "%s: no connection within %ld s", url, CONNECT_TIMEOUT_MS / 1000);
	else if (sending_us != 0 && code == CURLE_OPERATION_TIMEDOUT)
		err_set(e, ERR_UNREACHABLE, "%s: no answer within %ld s", url, r->timeout_ms / 1000);
	else if (code == CURLE_ABORTED_BY_CALLBACK)
		err_set(e, ERR_UNREACHABLE, "%s: interrupted", url);
	else if (code == CURLE_COULDNT_CONNECT)
		err_set(e, ERR_UNREACHABLE, "%s: nobody listens there", url);
	else
		err_set(e, ERR_UNREACHABLE, "%s: %s", url, curl_easy_strerror(code));
	return sending_us == 0 ? HOP_NOT_SENT : HOP_SENT;
}

/* One node, with its redirects. A node that redirects has not acted, so the method stays and only the last hop counts as sent.
 */
static enum hop send_node(struct http *h, const char *base, const struct http_request *r, struct http_reply *reply,
                          struct err *e)
{
	char url[2 * HTTP_URL_SIZE];
	char *location;
	enum hop hop;
	int i;

	snprintf(url, sizeof url, "%s%s", base, r->path);
	for (i = 0; i <= MAX_REDIRECTS; i++) {
		hop = send_hop(h, url, r, reply, e);
		if (hop != HOP_ANSWERED && i > 0)
			err_wrap(e, "%s sends us to the controller", base);
		if (hop != HOP_ANSWERED || (reply->status != 307 && reply->status != 308)) {
			str_copy(reply->url, sizeof reply->url, base);
			return hop;
		}
		location = NULL;
		curl_easy_getinfo(h->curl, CURLINFO_REDIRECT_URL, &location);
		if (location == NULL || !str_copy(url, sizeof url, location))
			break;
	}
	err_set(e, ERR_NOQUORUM, "%s: redirected more than %d times: the nodes do not agree who leads", base, MAX_REDIRECTS);
	return HOP_NOT_SENT;
}

static void keep_failure(struct buf *all, const struct err *one, struct err *e)
{
	buf_printf(all, "%s%s", all->len > 0 ? "; " : "", one->text);
	if (e->code != ERR_NOQUORUM)
		e->code = one->code;
}

/* Reply of a node that knows no controller, kept in case that no other node knows more. */
static void keep_reply(struct http_reply *kept, struct http_reply *reply)
{
	if (kept->status == 0) {
		*kept = *reply;
		memset(reply, 0, sizeof *reply);
	}
}

static int finish(struct http_reply *kept, struct http_reply *reply, struct buf *failures, struct http_reply *ret,
                  struct err *e)
{
	int rc = ERR_OK;

	buf_done(&reply->body);
	if (kept->status != 0)
		*ret = *kept;
	else
		rc = err_set(e, e->code, "no node answers: %s", failures->data);
	buf_done(failures);
	return rc;
}

int http_send(struct http *h, const struct http_request *r, struct http_reply *ret, struct err *e)
{
	struct http_reply reply = {0}, kept = {0};
	unsigned i, node, count = r->is_first_only ? 1 : h->base_count;
	struct err one = ERR_INIT;
	struct buf failures = {0};
	enum hop hop;

	e->code = ERR_UNREACHABLE;
	for (i = 0; i < count; i++) {
		node = r->is_first_only ? 0 : (h->preferred + i) % h->base_count;
		hop = send_node(h, h->bases[node], r, &reply, &one);
		if (hop == HOP_ANSWERED && (reply.status != 503 || r->body != NULL)) {
			h->preferred = node;
			*ret = reply;
			buf_done(&kept.body);
			buf_done(&failures);
			return ERR_OK;
		}
		if (hop == HOP_SENT && r->body != NULL) {
			buf_done(&reply.body);
			buf_done(&failures);
			return err_set(e, ERR_AMBIGUOUS, "%s; the request was sent, it may have been carried out or still run",
			               one.text);
		}
		if (hop == HOP_ANSWERED)
			keep_reply(&kept, &reply);
		else
			keep_failure(&failures, &one, e);
		if (interrupt_is_set())
			break;
	}
	return finish(&kept, &reply, &failures, ret, e);
}
