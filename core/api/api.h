/* Routes of the HTTP API, for core/api's own files. */
#ifndef API_API_H
#define API_API_H

#include "core/run/control.h"

/* Takes body; answers with it as JSON. */
void api_json(struct http_request *r, int status, json_t *body);
void api_error(struct http_request *r, enum err_code code, const char *message, const char *hint);

json_t *api_status(struct control *c);
json_t *api_nodes(struct control *c);
json_t *api_groups(struct control *c);
json_t *api_vips(struct control *c);

void api_events(struct control *c, struct http_request *r);
void api_store_status(struct control *c, struct http_request *r);
void api_store_backup(struct control *c, struct http_request *r);
void api_init(struct control *c, struct http_request *r);
/* POST /v1/nodes/NAME/{remove,keep,move}; false: it is another route. */
bool api_node_verb(struct control *c, struct http_request *r);

#endif
