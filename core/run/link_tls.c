/* Encryption of the port: libwebsockets' two contexts take their certificates from core/base/tls.h, connection by connection,
 * so they stay current. A node without a certificate serves its unix socket only, and looks for one all the time. */
#include "core/run/link_internal.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdio.h>
#include <string.h>

#define LOOK_MS 100 /* soon: who was just told that the cluster is made may be asked at once */

static struct conn *find_conn(struct link_hub *l, int fd)
{
	struct conn *c;

	for (c = l->conns; c != NULL; c = c->next)
		if (c->wsi != NULL && lws_get_socket_fd(c->wsi) == fd)
			return c;
	return NULL;
}

/* libwebsockets keeps the reasons of failed handshakes to itself; OpenSSL tells them here. */
static void on_info(const SSL *ssl, int where, int value)
{
	struct link_hub *l = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	long verified = SSL_get_verify_result(ssl);
	struct conn *c;

	if ((where & SSL_CB_HANDSHAKE_DONE) != 0) {
		c = find_conn(l, SSL_get_fd(ssl));
		if (c != NULL)
			c->is_shaken = true;
		return;
	}
	if ((where & SSL_CB_ALERT) == 0 || (value & 0xff) == SSL_AD_CLOSE_NOTIFY)
		return;
	if ((where & SSL_CB_READ) != 0)
		snprintf(l->alert, sizeof l->alert, "it refuses our certificate or TLS settings (%s)",
		         SSL_alert_desc_string_long(value));
	else
		snprintf(l->alert, sizeof l->alert, "the TLS handshake failed: %s",
		         verified != X509_V_OK ? X509_verify_cert_error_string(verified) : SSL_alert_desc_string_long(value));
}

int link_tls_server_context(struct link_hub *l, SSL_CTX *ctx)
{
	struct err e = ERR_INIT;

	if (tls_setup_server(l->tls, ctx, TLS_CLIENTS_OPTIONAL, &e) != ERR_OK) {
		log_error("link", "TLS: %s", e.text);
		return -1;
	}
	SSL_CTX_set_app_data(ctx, l);
	SSL_CTX_set_info_callback(ctx, on_info);
	return 0;
}

static int make_contexts(struct link_hub *l, struct err *e)
{
	int rc;

	if (l->client_ctx == NULL)
		l->client_ctx = SSL_CTX_new(TLS_client_method());
	if (l->client_ctx == NULL)
		return err_set(e, ERR_NOMEM, "OpenSSL has no memory for a context");
	rc = tls_setup_client(l->tls, l->client_ctx, e);
	if (rc != ERR_OK)
		return rc;
	SSL_CTX_set_app_data(l->client_ctx, l);
	SSL_CTX_set_info_callback(l->client_ctx, on_info);
	return link_make_vhost(l, &l->secure, e);
}

/* Until it is open: with the credentials, listen and dial. */
int link_open(struct link_hub *l, struct err *e)
{
	int rc = ERR_OK;

	if (!l->is_tls_off && l->tls == NULL) {
		rc = tls_open(l->config, &l->tls, e);
		if (rc == ERR_NOTFOUND && strcmp(l->problem, e->text) != 0) {
			str_copy(l->problem, sizeof l->problem, e->text);
			log_warn("link", "port %u stays closed: %s", l->config->ports.peer, e->text);
		}
		if (rc != ERR_OK)
			return rc;
		l->tls_number = tls_refresh(l->tls);
	}
	if (!l->is_tls_off && l->secure == NULL)
		rc = make_contexts(l, e);
	if (rc == ERR_OK)
		rc = link_listen(l, e);
	if (rc != ERR_OK)
		return rc;
	if (l->problem[0] != '\0')
		log_info("link", "port %u is open: there is a certificate now", l->config->ports.peer);
	l->is_open = true;
	return ERR_OK;
}

static void look_for_credentials(struct link_hub *l)
{
	struct err e = ERR_INIT;
	int rc = link_open(l, &e);

	if (rc == ERR_OK || rc == ERR_NOTFOUND || strcmp(l->problem, e.text) == 0)
		return;
	str_copy(l->problem, sizeof l->problem, e.text);
	log_error("link", "port %u stays closed: %s", l->config->ports.peer, e.text);
}

/* Credentials have been taken over: whoever has been revoked meanwhile is put out. */
static void check_everybody(struct link_hub *l)
{
	struct conn *c;

	for (c = l->conns; c != NULL && !l->is_stopping; c = c->next) {
		if (c->serial[0] == '\0' || c->is_dropped || !tls_is_revoked(l->tls, c->serial))
			continue;
		refusal_note(l, c->from, "its certificate was revoked");
		conn_drop(c, "its certificate was revoked");
	}
}

void link_tls_tick(struct link_hub *l, int64_t now)
{
	unsigned number;

	if (!l->is_open) {
		if (now - l->looked_ms >= LOOK_MS) {
			l->looked_ms = now;
			look_for_credentials(l);
		}
		return;
	}
	number = l->tls != NULL ? tls_refresh(l->tls) : 0;
	if (number == l->tls_number)
		return;
	l->tls_number = number;
	check_everybody(l);
}

void link_tls_failed(struct conn *c)
{
	struct link_hub *l = c->hub;

	if (l->alert[0] != '\0')
		refusal_note(l, c->from, l->alert);
	else if (!c->is_dialled)
		refusal_note(l, c->from, "it ended before the TLS handshake was done");
	l->alert[0] = '\0';
	if (c->is_dialled && c->is_met && c->peer != NULL)
		c->peer->next_dial_ms = clock_now_ms() + LINK_REDIAL_REFUSED_MS;
}

int link_tls_peer(struct conn *c, const char *expected, struct err *e)
{
	struct pki_info info = {0};
	SSL *ssl = c->wsi != NULL ? lws_get_ssl(c->wsi) : NULL;
	int rc;

	if (ssl == NULL)
		return err_set(e, ERR_REFUSED, "the connection is not encrypted");
	rc = tls_peer(c->hub->tls, ssl, expected, &info, e);
	if (rc != ERR_OK)
		return rc;
	if (info.subject.kind == PKI_CA || (expected != NULL && info.subject.kind == PKI_ADMIN))
		return err_set(e, ERR_REFUSED, "its certificate is no node's");
	c->who = info.subject.kind == PKI_ADMIN ? HTTP_ADMIN : HTTP_NODE;
	str_copy(c->name, sizeof c->name, info.subject.name);
	str_copy(c->serial, sizeof c->serial, info.serial);
	conn_know(c);
	return ERR_OK;
}
