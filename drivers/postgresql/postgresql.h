/* PostgreSQL 13 and later. */
#ifndef DRIVERS_POSTGRESQL_POSTGRESQL_H
#define DRIVERS_POSTGRESQL_POSTGRESQL_H

#include "drivers/driver.h"

extern const struct driver driver_postgresql;

#endif
