#include "store/frontend/set.h"

#include "store/frontend/exec.h"
#include "store/frontend/messages.h"
#include "store/frontend/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Spellings of more than one word. */
static const struct {
	const char *words[3];
	const char *name;
} spellings[] = {
        {{"TIME", "ZONE", NULL}, "TimeZone"},
        {{"TRANSACTION", "ISOLATION", "LEVEL"}, "transaction_isolation"},
        {{"SESSION", "AUTHORIZATION", NULL}, "session_authorization"},
        {{"NAMES", NULL, NULL}, "client_encoding"},
};

/* Where reading stands in a statement. */
struct cursor {
	struct token t;
	const char *end;
};

static void next(struct cursor *c)
{
	c->t = token_next_solid(c->t.at + c->t.len, c->end);
}

static struct cursor start(const char *sql)
{
	struct cursor c = {.end = sql + strlen(sql)};

	c.t = token_next_solid(sql, c.end);
	next(&c); /* SET, SHOW, RESET */
	return c;
}

static bool eat_word(struct cursor *c, const char *word)
{
	if (!token_is_word(&c->t, word))
		return false;
	next(c);
	return true;
}

/* A setting's name, "a.b" included; c stands behind it. */
static void read_name(struct cursor *c, char *dst, size_t cap)
{
	struct cursor at;
	size_t i, n, len;

	for (i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		at = *c;
		for (n = 0; n < 3 && spellings[i].words[n] != NULL && eat_word(&at, spellings[i].words[n]); n++)
			;
		if (n < 3 && spellings[i].words[n] != NULL)
			continue;
		*c = at;
		str_copy(dst, cap, spellings[i].name);
		return;
	}
	if (!token_value(&c->t, dst, cap))
		dst[0] = '\0';
	next(c);
	if (token_is_symbol(&c->t, '.')) {
		next(c);
		len = strlen(dst);
		snprintf(dst + len, cap - len, ".%.*s", (int)c->t.len, c->t.at);
		next(c);
	}
}

void set_shown_name(const char *sql, char *dst, size_t cap)
{
	struct cursor c = start(sql);

	read_name(&c, dst, cap);
}

/* The rest as one value: quotes gone, lists with ", ". False when it is missing or too long. */
static bool read_value(struct cursor *c, char *dst, size_t cap)
{
	char part[SETTING_SIZE];
	size_t len = 0;

	dst[0] = '\0';
	for (; c->t.kind != TOKEN_END; next(c)) {
		if (token_is_symbol(&c->t, ','))
			str_copy(part, sizeof(part), ", ");
		else if (!token_value(&c->t, part, sizeof(part)))
			return false;
		if (!str_copy(dst + len, cap - len, part))
			return false;
		len += strlen(part);
	}
	return true;
}

static void finish(struct session *s, int rc, const struct sqlerr *e)
{
	str_copy(s->op.tag, sizeof(s->op.tag), s->op.in.st->tag);
	exec_finish(s, rc == ERR_OK ? NULL : e);
}

/* The controller's lease: '<generation> <deadline>' (store/admin.h). */
static int set_lease(struct session *s, const char *value, struct sqlerr *e)
{
	uint64_t generation;
	int64_t deadline_ns;
	int used = 0;

	if (!s->is_control)
		return sqlerr_set(e, "42501", "only the control process of this node may set mha.lease");
	if (sscanf(value, "%" SCNu64 " %" SCNd64 "%n", &generation, &deadline_ns, &used) != 2 || value[used] != '\0')
		return sqlerr_set(e, "22023", "mha.lease is '<generation> <deadline in ns of CLOCK_BOOTTIME>'");
	admin_set_lease(s->f->admin, generation, deadline_ns);
	return ERR_OK;
}

static int set_value(struct session *s, const char *name, const char *value, struct sqlerr *e)
{
	bool is_reported = false;
	int rc;

	if (strcasecmp(name, "mha.lease") == 0)
		return set_lease(s, value != NULL ? value : "", e);
	if (strcasecmp(name, "session_authorization") == 0 || strcasecmp(name, "is_superuser") == 0)
		return sqlerr_set(e, "55P02", "parameter \"%s\" cannot be changed", name);
	rc = settings_set(&s->settings, name, value, &is_reported, e);
	if (rc == ERR_OK && is_reported)
		msg_put_parameter_status(&s->out, settings_name(name), settings_get(&s->settings, name));
	return rc;
}

/* TRANSACTION ... and CHARACTERISTICS AS TRANSACTION ...: of the modes only READ ONLY and READ WRITE mean anything here. */
static void set_transaction(struct session *s, struct cursor *c, bool is_default)
{
	struct sqlerr e = SQLERR_INIT;
	bool is_reported;

	for (; c->t.kind != TOKEN_END; next(c)) {
		bool is_readonly;

		if (!eat_word(c, "READ"))
			continue;
		is_readonly = token_is_word(&c->t, "ONLY");
		if (!is_readonly && !token_is_word(&c->t, "WRITE"))
			continue; /* READ COMMITTED: everything is serializable here */
		if (!is_default)
			s->tx_is_readonly = is_readonly && s->tx != TX_NONE;
		else if (settings_set(&s->settings, "default_transaction_read_only", is_readonly ? "on" : "off", &is_reported,
		                      &e) == ERR_OK)
			msg_put_parameter_status(&s->out, "default_transaction_read_only", is_readonly ? "on" : "off");
	}
	finish(s, ERR_OK, NULL);
}

static void reset(struct session *s, struct cursor *c)
{
	char name[64];
	struct sqlerr e = SQLERR_INIT;

	if (token_is_word(&c->t, "ALL")) {
		settings_reset_all(&s->settings, &s->out);
		finish(s, ERR_OK, NULL);
		return;
	}
	read_name(c, name, sizeof(name));
	finish(s, set_value(s, name, NULL, &e), &e);
}

void set_run(struct session *s)
{
	struct cursor c = start(s->op.in.st->sql);
	char name[64], value[SETTING_SIZE];
	bool is_time_zone;
	struct sqlerr e = SQLERR_INIT;

	if (s->op.in.st->kind == STATEMENT_RESET) {
		reset(s, &c);
		return;
	}
	is_time_zone = token_is_word(&c.t, "TIME") || token_is_word(&c.t, "NAMES"); /* no '=' behind these */
	if (!eat_word(&c, "LOCAL") && token_is_word(&c.t, "SESSION")) {
		struct cursor after = c;

		next(&after);
		if (eat_word(&after, "CHARACTERISTICS")) {
			set_transaction(s, &after, true);
			return;
		}
		if (!token_is_word(&after.t, "AUTHORIZATION"))
			c = after;
	}
	if (token_is_word(&c.t, "TRANSACTION")) {
		set_transaction(s, &c, false);
		return;
	}
	read_name(&c, name, sizeof(name));
	if (!token_is_symbol(&c.t, '=') && !token_is_word(&c.t, "TO") && !is_time_zone) {
		sqlerr_set(&e, "42601", "SET takes a name, = or TO, and a value");
		finish(s, ERR_SQL, &e);
		return;
	}
	if (token_is_symbol(&c.t, '=') || token_is_word(&c.t, "TO"))
		next(&c);
	if (token_is_word(&c.t, "DEFAULT"))
		finish(s, set_value(s, name, NULL, &e), &e);
	else if (c.t.kind == TOKEN_END || !read_value(&c, value, sizeof(value)))
		finish(s, sqlerr_set(&e, "22023", "the value of \"%s\" is missing or too long", name), &e);
	else
		finish(s, set_value(s, name, value, &e), &e);
}
