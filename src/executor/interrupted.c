/*
 * interrupted.c
 *	  Where the process was when the timers' signal came, and whether it may end
 *	  from there.
 *
 * Who ends the process frees what PostgreSQL holds.  So the signal must have come
 * neither amidst malloc() nor amidst code of PostgreSQL: only libraries that are
 * neither libc, the loader nor PostgreSQL's are left at once, as an interpreter is.
 * Code that is found elsewhere again and again sleeps there.
 */
#include "postgres.h"

#include "executor/limits.h"

#include <link.h>
#include <signal.h>
#include <ucontext.h>

#include "miscadmin.h"

#define OBJECTS_MAX 256

/* so often in a row elsewhere: two seconds of ticks */
#define ELSEWHERE_MAX 20

typedef struct Text
{
	uintptr_t	begin;
	uintptr_t	end;
} Text;

/* code of libraries that may be left */
static Text texts[OBJECTS_MAX];
static int	text_count = 0;
static unsigned long long loaded = 0;	/* libraries, ever, when they were noted */

static volatile uintptr_t interrupted_at = 0;
static int	elsewhere = 0;
static struct sigaction inner;

/* ---- the signal ---- */

static uintptr_t
address_of(const void *context)
{
#if defined(__x86_64__)
	return ((const ucontext_t *) context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return ((const ucontext_t *) context)->uc_mcontext.pc;
#else
	return 0;
#endif
}

static void
alarm_handler(int number, siginfo_t *info, void *context)
{
	interrupted_at = address_of(context);
	if (inner.sa_flags & SA_SIGINFO)
		inner.sa_sigaction(number, info, context);
	else
		inner.sa_handler(number);
}

void
interrupted_install(void)
{
	static bool installed = false;
	struct sigaction outer;

	if (installed)
		return;
	if (sigaction(SIGALRM, NULL, &inner) != 0)
		elog(ERROR, "could not read the handler of SIGALRM: %m");
	outer = inner;
	outer.sa_flags |= SA_SIGINFO;
	outer.sa_sigaction = alarm_handler;
	if (sigaction(SIGALRM, &outer, NULL) != 0)
		elog(ERROR, "could not set the handler of SIGALRM: %m");
	installed = true;
}

/* ---- libraries ---- */

/* the program itself has no name; what has no file belongs to the kernel */
static bool
may_be_left(const char *name)
{
	const char *file = strrchr(name, '/');

	return file && strncmp(name, pkglib_path, strlen(pkglib_path)) != 0 && strncmp(file, "/libc.", 6) != 0 &&
		strncmp(file, "/libc-", 6) != 0 && strncmp(file, "/ld-", 4) != 0 && strncmp(file, "/ld.", 4) != 0;
}

static int
note(struct dl_phdr_info *object, size_t size, void *known)
{
	if (object->dlpi_adds == *(unsigned long long *) known)
		return 1;
	loaded = object->dlpi_adds;
	for (int i = 0; i < object->dlpi_phnum && may_be_left(object->dlpi_name); i++)
	{
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];

		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) || text_count == OBJECTS_MAX)
			continue;
		texts[text_count].begin = object->dlpi_addr + part->p_vaddr;
		texts[text_count++].end = object->dlpi_addr + part->p_vaddr + part->p_memsz;
	}
	return 0;
}

void
interrupted_begin(void)
{
	unsigned long long known = loaded;
	int			count = text_count;

	/* nothing happens if no library was loaded since */
	elsewhere = 0;
	text_count = 0;
	(void) dl_iterate_phdr(note, &known);
	if (loaded == known)
		text_count = count;
}

bool
interrupted_may_leave(void)
{
	for (int i = 0; i < text_count; i++)
		if (interrupted_at >= texts[i].begin && interrupted_at < texts[i].end)
			return true;
	return ++elsewhere >= ELSEWHERE_MAX;
}
