/* BEGIN, COMMIT, ROLLBACK and savepoints: PostgreSQL's rules on top of SQLite's. The slot of the writer is asked for with the
 * first statement that needs it, and given back at the end or at the first error that nothing can follow but ROLLBACK. */
#ifndef STORE_FRONTEND_TRANSACTION_H
#define STORE_FRONTEND_TRANSACTION_H

struct session;

void transaction_start(struct session *s);          /* run s->op.in.st */
void transaction_leader_changed(struct session *s); /* an idle one does not keep the slot of a transaction that is gone */
void transaction_note(struct session *s);           /* a savepoint statement has succeeded */
void transaction_forget(struct session *s);         /* give the slot back without waiting; what was done is rolled back */

#endif
