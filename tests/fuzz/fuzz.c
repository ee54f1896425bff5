#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (text == NULL)
		abort();
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

void fuzz_file_open(struct fuzz_file *f, const uint8_t *data, size_t size)
{
	f->fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (f->fd < 0 || fchmod(f->fd, 0600) != 0 || write(f->fd, data, size) != (ssize_t)size)
		abort();
	snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->fd);
}

void fuzz_file_close(struct fuzz_file *f)
{
	close(f->fd);
}

size_t fuzz_bytes(struct fuzz_input *in, void *dst, size_t max)
{
	size_t n = in->left < max ? in->left : max;

	if (n > 0)
		memcpy(dst, in->data, n);
	in->data += n;
	in->left -= n;
	return n;
}

uint8_t fuzz_byte(struct fuzz_input *in)
{
	uint8_t v = 0;

	(void)fuzz_bytes(in, &v, sizeof v);
	return v;
}

uint64_t fuzz_u64(struct fuzz_input *in)
{
	uint64_t v = 0;

	(void)fuzz_bytes(in, &v, sizeof v);
	return v;
}
