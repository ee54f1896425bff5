/* Routes of the HTTP API, for core/api's own files. */
#ifndef API_API_H
#define API_API_H

#include "core/api/message.h"
#include "core/api/route.h"
#include "core/run/control.h"

json_t *api_status(struct control *c);
json_t *api_nodes(struct control *c);
json_t *api_groups(struct control *c);
json_t *api_vips(struct control *c);

void api_events(struct control *c, struct http_request *r);
void api_store_status(struct control *c, struct http_request *r);
void api_store_backup(struct control *c, struct http_request *r);
void api_init(struct control *c, struct http_request *r);
/* POST /v1/nodes/NAME/{remove,keep,move}; false: it is another route. */
bool api_node_verb(struct control *c, struct http_request *r, const struct api_route *route);

#endif
