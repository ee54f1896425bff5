#include "shell/http.h"

#include "shell/interrupt.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_NODES          16
#define MAX_BODY_BYTES     (64U << 20)
#define DEFAULT_PORT       "7400"
#define CONNECT_TIMEOUT_MS 1000L
#define SOCKET_TIMEOUT_MS  5000

/* A node of the list. */
struct base {
	char name[HTTP_URL_SIZE];                               /* as messages show it */
	char url[HTTP_URL_SIZE];                                /* what libcurl gets in front of the path */
	char socket[sizeof((struct sockaddr_un *)0)->sun_path]; /* "": TCP */
	bool is_https;
};

struct http {
	CURL *curl;
	struct curl_slist *headers;
	struct base bases[MAX_NODES];
	unsigned base_count;
	unsigned preferred; /* the one that answered last */
	struct buf hosts;
	char ca[512], cert[512], key[512];
	char problem[CURL_ERROR_SIZE];
};

/* How far one request to one URL came. */
enum hop { HOP_ANSWERED, HOP_NOT_SENT, HOP_SENT };

static int add_socket(const char *path, struct http *h, struct err *e)
{
	struct base *b = &h->bases[h->base_count];
	const char *end = strrchr(path, '/');

	if (path[0] != '/' || strlen(path) >= sizeof b->socket)
		return err_set(e, ERR_INVAL, "--node: \"unix:%s\" is not the absolute path of a socket", path);
	snprintf(b->name, sizeof b->name, "unix:%s", path);
	str_copy(b->url, sizeof b->url, "http://localhost");
	str_copy(b->socket, sizeof b->socket, path);
	h->base_count++;
	/* The SQL port's socket lies beside it. */
	buf_printf(&h->hosts, "%s%.*s", h->hosts.len > 0 ? "," : "", end == path ? 1 : (int)(end - path), path);
	return ERR_OK;
}

static void add_host(struct http *h, char *host)
{
	/* libpq wants IPv6 without brackets */
	host[strcspn(host, "]")] = '\0';
	buf_printf(&h->hosts, "%s%s", h->hosts.len > 0 ? "," : "", host + (host[0] == '['));
}

/* "n1", "n1:7400", "http://n1" -> "http://n1:7400". Without a scheme it is https when there are certificates to show. */
static int normalise(CURLU *u, const char *text, struct http *h, struct err *e)
{
	char *url = NULL, *host = NULL, *port = NULL;
	char with_scheme[HTTP_URL_SIZE];
	struct base *b = &h->bases[h->base_count];
	int rc = ERR_OK;

	snprintf(with_scheme, sizeof with_scheme, "%s%s",
	         strstr(text, "://") != NULL  ? ""
	         : access(h->cert, F_OK) == 0 ? "https://"
	                                      : "http://",
	         text);
	if (curl_url_set(u, CURLUPART_URL, with_scheme, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		return err_set(e, ERR_INVAL, "--node: \"%s\" is not a URL like https://n1:" DEFAULT_PORT, text);
	if (curl_url_get(u, CURLUPART_PORT, &port, 0) != CURLUE_OK)
		curl_url_set(u, CURLUPART_PORT, DEFAULT_PORT, 0);
	curl_url_set(u, CURLUPART_PATH, "", 0);
	if (curl_url_get(u, CURLUPART_URL, &url, 0) != CURLUE_OK || strlen(url) >= HTTP_URL_SIZE) {
		rc = err_set(e, ERR_INVAL, "--node: \"%s\" cannot be used", text);
	} else {
		url[strlen(url) - (url[strlen(url) - 1] == '/')] = '\0';
		str_copy(b->url, sizeof b->url, url);
		str_copy(b->name, sizeof b->name, url);
		b->is_https = strncmp(url, "https://", 8) == 0;
		h->base_count++;
		add_host(h, host);
	}
	curl_free(url);
	curl_free(host);
	curl_free(port);
	return rc;
}

static int add_base(struct http *h, const char *text, struct err *e)
{
	CURLU *u;
	int rc;

	if (h->base_count == MAX_NODES)
		return err_set(e, ERR_INVAL, "--node: more than %d URLs", MAX_NODES);
	if (strncmp(text, "unix:", 5) == 0)
		return add_socket(text + 5, h, e);
	u = curl_url();
	rc = normalise(u, text, h, e);
	curl_url_cleanup(u);
	return rc;
}

static int add_bases(struct http *h, const char *nodes, struct err *e)
{
	char *copy = mem_strdup(nodes), *save = NULL, *text;
	int rc = ERR_OK;

	for (text = strtok_r(copy, ", ", &save); rc == ERR_OK && text != NULL; text = strtok_r(NULL, ", ", &save))
		rc = add_base(h, text, e);
	if (rc == ERR_OK && h->base_count == 0)
		rc = err_set(e, ERR_INVAL, "--node: no URL in \"%s\"", nodes);
	free(copy);
	return rc;
}

int http_new(const char *nodes, const char *tls_dir, struct http **ret, struct err *e)
{
	struct http *h = mem_alloc(sizeof *h);
	int rc;

	h->curl = curl_easy_init();
	h->headers = curl_slist_append(NULL, "Content-Type: application/json");
	snprintf(h->ca, sizeof h->ca, "%s/ca.pem", tls_dir);
	snprintf(h->cert, sizeof h->cert, "%s/admin.pem", tls_dir);
	snprintf(h->key, sizeof h->key, "%s/admin.key", tls_dir);
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

static void set_connection(struct http *h, const struct base *b)
{
	CURL *c = h->curl;

	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_PROXY, ""); /* nodes are asked directly, whatever $http_proxy says */
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	h->problem[0] = '\0';
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->problem);
	if (b->socket[0] != '\0') {
		curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, b->socket);
		return;
	}
	curl_easy_setopt(c, CURLOPT_SOCKOPTFUNCTION, set_socket);
	if (!b->is_https)
		return;
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(c, CURLOPT_CAINFO, h->ca);
	curl_easy_setopt(c, CURLOPT_CAPATH, NULL); /* the cluster's CA, and no other */
	curl_easy_setopt(c, CURLOPT_SSLCERT, h->cert);
	curl_easy_setopt(c, CURLOPT_SSLKEY, h->key);
}

static void set_request(struct http *h, const char *url, const struct http_request *r, struct buf *body)
{
	CURL *c = h->curl;

	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, CONNECT_TIMEOUT_MS + r->timeout_ms);
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

static int check_files(const struct http *h, const struct base *b, struct err *e)
{
	const char *const files[] = {h->ca, h->cert, h->key};
	unsigned i;

	for (i = 0; b->is_https && i < 3; i++)
		if (access(files[i], R_OK) != 0)
			return err_set(e, ERR_INVAL,
			               "%s: %s cannot be read (%s): `mha-shell cert issue NAME --out DIR` on a node makes "
			               "ca.pem, "
			               "admin.pem and admin.key; name their directory with --tls-dir or MHA_TLS_DIR",
			               b->name, files[i], strerror(errno));
	return ERR_OK;
}

/* Numbers of OpenSSL's X509_V_ERR_... */
enum verify_result { VERIFY_NOT_YET = 9, VERIFY_EXPIRED = 10, VERIFY_SELF_SIGNED = 18, VERIFY_NO_ISSUER = 21 };

static void explain_certificate(struct http *h, const struct base *b, struct err *e)
{
	long result = 0;

	curl_easy_getinfo(h->curl, CURLINFO_SSL_VERIFYRESULT, &result);
	if (result == VERIFY_EXPIRED || result == VERIFY_NOT_YET)
		err_set(e, ERR_REFUSED, "%s: its certificate %s: compare the clocks, or see `mha-shell cert show` on a node",
		        b->name, result == VERIFY_EXPIRED ? "has expired" : "is not valid yet");
	else if (result >= VERIFY_SELF_SIGNED && result <= VERIFY_NO_ISSUER)
		err_set(e, ERR_REFUSED,
		        "%s: its certificate is not signed by the CA in %s: it is another cluster's node, or that file is",
		        b->name, h->ca);
	else
		err_set(e, ERR_REFUSED,
		        "%s: its certificate does not fit (%s): name the node as its certificate does, by name or by the "
		        "address in "
		        "its node.yaml",
		        b->name, h->problem);
}

/* TLS 1.3 tells a client that its certificate is refused only after the client's part of the handshake is done. */
static bool is_our_certificate_refused(const struct http *h, const struct base *b)
{
	return b->is_https && strstr(h->problem, "alert") != NULL;
}

static enum hop explain(struct http *h, const struct base *b, CURLcode code, const struct http_request *r, struct err *e)
{
	curl_off_t sending_us = 0;

	/* This time is set when the connection stands and the request is about to be sent. */
	curl_easy_getinfo(h->curl, CURLINFO_PRETRANSFER_TIME_T, &sending_us);
	if (is_our_certificate_refused(h, b)) {
		err_set(e, ERR_REFUSED, "%s: it refuses the certificate in %s (%s)", b->name, h->cert, h->problem);
		return HOP_NOT_SENT;
	}
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		explain_certificate(h, b, e);
	else if (code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CACERT_BADFILE)
		err_set(e, ERR_INVAL, "%s: the certificate files cannot be used: %s", b->name, h->problem);
	else if (sending_us == 0 && code == CURLE_OPERATION_TIMEDOUT)
		err_set(e, ERR_UNREACHABLE, "%s: no connection within %ld s", b->name, CONNECT_TIMEOUT_MS / 1000);
	else if (sending_us != 0 && code == CURLE_OPERATION_TIMEDOUT)
		err_set(e, ERR_UNREACHABLE, "%s: no answer within %ld s", b->name, r->timeout_ms / 1000);
	else if (code == CURLE_ABORTED_BY_CALLBACK)
		err_set(e, ERR_UNREACHABLE, "%s: interrupted", b->name);
	else if (code == CURLE_COULDNT_CONNECT)
		err_set(e, ERR_UNREACHABLE, "%s: nobody listens there", b->name);
	else if (!b->is_https && b->socket[0] == '\0' && (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR))
		err_set(e, ERR_UNREACHABLE, "%s: it closed the connection without an answer: does it want https://?", b->name);
	else if (b->is_https && code != CURLE_COULDNT_RESOLVE_HOST)
		/* The alert that says so may get lost when the node closes. */
		err_set(e, ERR_UNREACHABLE,
		        "%s: the connection ended without an answer (%s): it may refuse the certificate in %s", b->name,
		        h->problem[0] != '\0' ? h->problem : curl_easy_strerror(code), h->cert);
	else
		err_set(e, ERR_UNREACHABLE, "%s: %s", b->name, h->problem[0] != '\0' ? h->problem : curl_easy_strerror(code));
	return sending_us == 0 ? HOP_NOT_SENT : HOP_SENT;
}

/* One request to one node. */
static enum hop send_node(struct http *h, const struct base *b, const struct http_request *r, struct http_reply *reply,
                          struct err *e)
{
	char url[2 * HTTP_URL_SIZE];
	CURLcode code;

	buf_clear(&reply->body);
	if (check_files(h, b, e) != ERR_OK)
		return HOP_NOT_SENT;
	snprintf(url, sizeof url, "%s%s", b->url, r->path);
	curl_easy_reset(h->curl); /* keeps the connections */
	set_connection(h, b);
	set_request(h, url, r, &reply->body);
	code = curl_easy_perform(h->curl);
	if (code != CURLE_OK)
		return explain(h, b, code, r, e);
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &reply->status);
	str_copy(reply->url, sizeof reply->url, b->name);
	return HOP_ANSWERED;
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
		hop = send_node(h, &h->bases[node], r, &reply, &one);
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
