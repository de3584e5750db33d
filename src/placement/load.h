/*
 * load.h
 *	  What users' calls and rows cost, stored.
 */
#ifndef TASKEX_PLACEMENT_LOAD_H
#define TASKEX_PLACEMENT_LOAD_H

#include "postgres.h"

/*
 * For the conductor: each taskex.load_interval stores what was counted, folds
 * hours that are over and looks at what is stored.  True: there is more to fold.
 */
extern bool load_maintain(void);

#endif							/* TASKEX_PLACEMENT_LOAD_H */
