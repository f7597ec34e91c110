/* A date that a test sets: put before the C library, it adds the number in the file of this name to the kernel's seconds since 1970,
 * and says that they are true. No other clock is touched. */

#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static long long ahead(void)
{
	char text[32] = {0};
	const char *name = getenv("DATE_AHEAD");
	int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;

	if (file < 0)
		return 0;
	if (read(file, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(file);
	return atoll(text);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	int result = (int)syscall(SYS_clock_gettime, clock, time);

	if (result == 0 && clock == CLOCK_REALTIME)
		time->tv_sec += ahead();
	return result;
}

int adjtimex(struct timex *state)
{
	(void)state;
	return TIME_OK;
}
