/*
 * progress.h
 *	  What the inferences that are under way are doing.
 */
#ifndef TASKEX_PROGRESS_H
#define TASKEX_PROGRESS_H

#include "postgres.h"

#include "infra/shmem.h"

extern const ShmemPart progress_shmem;

/*
 * An inference can run inside the query of another: what is shown is the inner
 * one.  progress_end brings back what progress_begin has put aside; it is
 * called on errors too.
 */
typedef struct ProgressSaved ProgressSaved;

extern ProgressSaved *progress_begin(const char *method);
extern void progress_end(ProgressSaved *saved);

/* phases and methods are names in lower case, of at most 31 bytes */
extern void progress_phase(const char *phase, int round, int rounds);
extern void progress_labels(uint64 labels);
extern void progress_counts(uint64 labels, uint64 tasks, uint64 performers);

#endif							/* TASKEX_PROGRESS_H */
