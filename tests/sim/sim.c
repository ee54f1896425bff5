/* sim_cluster: whole clusters in virtual time. `sim_cluster --hours 1000 --jobs 2 --seed S` runs S, S+1, ... until 1000 hours
 * of cluster time have passed; a seed that breaks an invariant is run again with its trace. --broken NAME takes a safety
 * measure away: then the violation is what is expected. */
#include "tests/sim/world.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_LENGTH (600 * SECOND)

static const struct {
	const char *name;
	unsigned bit;
} measures[] = {
        {"guard", BROKEN_GUARD},       {"port", BROKEN_PORT}, {"generation", BROKEN_GENERATION},
        {"unsafe", BROKEN_UNSAFE},     {"sync", BROKEN_SYNC}, {"restart", BROKEN_RESTART},
        {"starting", BROKEN_STARTING}, {"two", BROKEN_TWO},   {"settle", BROKEN_SETTLE},
};

struct options {
	uint64_t seed, hours, jobs;
	bool is_traced, is_single;
	const char *broken;
	const char *program;
};

static void print_violation(struct world *w, const struct options *o, uint64_t seed)
{
	w->trace.is_on = true;
	w->trace.is_all = o->is_traced;
	world_run(w, seed, RUN_LENGTH);
	trace_print(&w->trace);
	printf("violation in seed %llu: %s\nreplay: %s --one --trace%s%s --seed %llu\n", (unsigned long long)seed, w->violation,
	       o->program, o->broken != NULL ? " --broken " : "", o->broken != NULL ? o->broken : "", (unsigned long long)seed);
	fflush(stdout);
}

/* Every jobs-th seed. Returns 1 when an invariant was broken. */
static int run_seeds(struct world *w, const struct options *o, uint64_t job)
{
	uint64_t runs = o->is_single ? 1 : o->hours * 3600 * SECOND / RUN_LENGTH;
	double start = sim_wall_seconds(), took;
	uint64_t done = 0;

	for (uint64_t i = job; i < runs; i += o->jobs) {
		if (o->is_traced)
			w->trace.is_on = w->trace.is_all = true;
		world_run(w, o->seed + i, RUN_LENGTH);
		done++;
		if (w->violation[0] == '\0')
			continue;
		if (!o->is_traced)
			print_violation(w, o, o->seed + i);
		return 1;
	}
	took = sim_wall_seconds() - start;
	printf("job %llu: %llu runs, %.1f cluster-hours in %.1f s (%.0f x real time); %llu events, %llu faults, %llu commits "
	       "(%llu lost), %llu epochs, "
	       "%llu promotions, %llu acknowledged writes, %llu voter sets; no violation\n",
	       (unsigned long long)job, (unsigned long long)done, (double)done * RUN_LENGTH / SECOND / 3600, took,
	       (double)done * RUN_LENGTH / SECOND / took, (unsigned long long)w->events, (unsigned long long)w->faults,
	       (unsigned long long)w->commits, (unsigned long long)w->lost_commits, (unsigned long long)w->failovers,
	       (unsigned long long)w->promotions, (unsigned long long)w->acks, (unsigned long long)w->set_changes);
	fflush(stdout);
	return 0;
}

static int run_jobs(const struct options *o, unsigned broken)
{
	int failed = 0, status;

	fflush(stdout);
	for (uint64_t job = 0; job < o->jobs; job++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (pid == 0) {
			struct world *w = calloc(1, sizeof *w);

			if (w == NULL)
				exit(3);
			w->broken = broken;
			status = run_seeds(w, o, job);
			world_done(w);
			free(w);
			exit(status);
		}
	}
	while (wait(&status) > 0)
		failed += status != 0;
	return failed > 0;
}

static int usage(const char *program)
{
	fprintf(stderr, "usage: %s [--seed S] [--hours H] [--jobs J] [--one] [--trace] [--broken", program);
	for (size_t i = 0; i < sizeof measures / sizeof measures[0]; i++)
		fprintf(stderr, "%s%s", i > 0 ? "|" : " ", measures[i].name);
	fprintf(stderr, "]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	        {"seed", required_argument, NULL, 's'},
	        {"hours", required_argument, NULL, 'h'},
	        {"jobs", required_argument, NULL, 'j'},
	        {"one", no_argument, NULL, '1'},
	        {"trace", no_argument, NULL, 't'},
	        {"broken", required_argument, NULL, 'b'},
	        {NULL, 0, NULL, 0},
	};
	struct options o = {.seed = sim_default_seed(), .hours = 10, .jobs = 2, .program = argv[0]};
	unsigned broken = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 's')
			o.seed = strtoull(optarg, NULL, 10);
		else if (c == 'h')
			o.hours = strtoull(optarg, NULL, 10);
		else if (c == 'j')
			o.jobs = strtoull(optarg, NULL, 10);
		else if (c == '1')
			o.is_single = true;
		else if (c == 't')
			o.is_traced = true;
		else if (c == 'b')
			o.broken = optarg;
		else
			return usage(argv[0]);
	}
	if (o.is_single)
		o.jobs = 1;
	for (size_t i = 0; o.broken != NULL && i < sizeof measures / sizeof measures[0]; i++)
		if (strcmp(measures[i].name, o.broken) == 0)
			broken = measures[i].bit;
	if ((o.broken != NULL && broken == 0) || o.jobs == 0 || o.jobs > 64 || optind != argc)
		return usage(argv[0]);
	printf("sim: seed %llu, %llu hours of cluster time, %llu jobs%s%s\n", (unsigned long long)o.seed,
	       (unsigned long long)o.hours, (unsigned long long)o.jobs, o.broken != NULL ? ", broken: " : "",
	       o.broken != NULL ? o.broken : "");
	return run_jobs(&o, broken);
}
