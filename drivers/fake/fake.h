/* The driver of mha-fakedb, a simulated database server: for tests of everything around a server, without one. */
#ifndef DRIVERS_FAKE_FAKE_H
#define DRIVERS_FAKE_FAKE_H

#include "drivers/driver.h"

extern const struct driver driver_fake;

#endif
