/* What the fuzz targets share. A target is LLVMFuzzerTestOneInput: deterministic, no network, no file outside memory. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the code under test. */
#define FUZZ_CHECK(what)                                                                                                       \
	do {                                                                                                                   \
		if (!(what)) {                                                                                                 \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what);                              \
			abort();                                                                                               \
		}                                                                                                              \
	} while (0)

/* The bytes with a NUL behind them, in memory of exactly that size, so that a sanitizer sees a read beyond it. Free it. */
char *fuzz_text(const uint8_t *data, size_t size);

/* A file in memory (mode 0600) that holds the bytes; path (32 bytes) opens it until fuzz_file_close. */
struct fuzz_file {
	int fd;
	char path[32];
};
void fuzz_file_open(struct fuzz_file *f, const uint8_t *data, size_t size);
void fuzz_file_close(struct fuzz_file *f);

/* Numbers and pieces from the front of the input; zero and nothing when it is used up. */
struct fuzz_input {
	const uint8_t *data;
	size_t left;
};
uint8_t fuzz_byte(struct fuzz_input *in);
uint64_t fuzz_u64(struct fuzz_input *in);
/* Up to max bytes into dst; returns how many. */
size_t fuzz_bytes(struct fuzz_input *in, void *dst, size_t max);

#endif
