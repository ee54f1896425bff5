/* Structured logs on stderr, one line per fact, the object first:
 * {"ts":"...","level":"info","prog":"mhad","node":"n1","obj":"group main","msg":"..."} (JSON), or plain text on a terminal. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* prog and node are borrowed for the life of the process. MHA_LOG=debug|info|warn|error sets the level (info). */
void log_init(const char *prog, const char *node);

/* obj names what the line is about ("group main", "node n2"); borrowed for the call. */
void log_line(enum log_level level, const char *obj, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_debug(obj, ...) log_line(LOG_LEVEL_DEBUG, obj, __VA_ARGS__)
#define log_info(obj, ...)  log_line(LOG_LEVEL_INFO, obj, __VA_ARGS__)
#define log_warn(obj, ...)  log_line(LOG_LEVEL_WARN, obj, __VA_ARGS__)
#define log_error(obj, ...) log_line(LOG_LEVEL_ERROR, obj, __VA_ARGS__)

#endif
