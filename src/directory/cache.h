/*
 * cache.h
 *	  The directory's lookup table in shared memory.
 */
#ifndef TASKEX_DIRECTORY_CACHE_H
#define TASKEX_DIRECTORY_CACHE_H

#include "postgres.h"

#include "directory/directory.h"

#define CACHE_KEY_SIZE 32

/* what is looked up: a login or a user id, with its place in the cache */
typedef struct CacheKey
{
	uint8		bytes[CACHE_KEY_SIZE];
	uint32		realm;
	uint32		set;
	uint8		kind;			/* login's length, or one of KEY_* in cache.c */
} CacheKey;

extern void cache_key_login(CacheKey *key, const text *login);
extern void cache_key_id(CacheKey *key, int64 user_id);

/*
 * True and the home if it is cached; else the set's version, to be given back
 * with cache_fill.
 */
extern bool cache_find(const CacheKey *key, UserHome *home, uint32 *version);

/* enters a home that was read after "version" was, unless it changed since */
extern void cache_fill(const CacheKey *key, const UserHome *home, uint32 version);

/* removes the entry and refuses fills under way; cannot fail */
extern void cache_forget(const CacheKey *key);

#endif							/* TASKEX_DIRECTORY_CACHE_H */
