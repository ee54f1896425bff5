/* main() of a fuzz target in builds without libFuzzer: the files it is given, or the files of a directory, once each. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

static unsigned fed;

static void feed_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	struct stat st;
	size_t n;

	if (f == NULL || fstat(fileno(f), &st) != 0) {
		perror(path);
		exit(2);
	}
	data = malloc((size_t)st.st_size + 1);
	if (data == NULL)
		abort();
	n = fread(data, 1, (size_t)st.st_size, f);
	fclose(f);
	fprintf(stderr, "%s\n", path); /* the last one said is the one that failed */
	(void)LLVMFuzzerTestOneInput(data, n);
	free(data);
	fed++;
}

static int is_seed(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void feed(const char *path)
{
	char name[PATH_MAX];
	struct dirent **list;
	int i, n = scandir(path, &list, is_seed, alphasort);

	if (n < 0) {
		feed_file(path);
		return;
	}
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof name, "%s/%s", path, list[i]->d_name);
		feed_file(name);
		free(list[i]);
	}
	free(list);
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		feed(argv[i]);
	printf("%u inputs\n", fed);
	return fed > 0 ? 0 : 2;
}
