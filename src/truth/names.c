/*
 * names.c
 *	  Texts as numbers: an open hash table over names that lie in chunks.
 */
#include "postgres.h"

#include "truth/names.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#define FIRST_CAPACITY 256
#define CHUNK_SIZE (64 * 1024)

void
names_init(Names *names, Budget *budget)
{
	memset(names, 0, sizeof(Names));
	names->budget = budget;
	names->capacity = FIRST_CAPACITY;
	names->name = budget_array(budget, NameText *, names->capacity);
	names->hash = budget_array(budget, uint32, names->capacity);
	names->slots = 2 * FIRST_CAPACITY;
	names->slot = budget_array_zero(budget, uint32, names->slots);
}

static void
put_in_slot(Names *names, uint32 number)
{
	uint32		i = names->hash[number] & (names->slots - 1);

	while (names->slot[i] != 0)
		i = (i + 1) & (names->slots - 1);
	names->slot[i] = number + 1;
}

static void
double_capacity(Names *names)
{
	Budget	   *budget = names->budget;
	uint32		old = names->capacity;

	/* numbers + 1 and slots have to fit in 32 bits */
	if (old >= (uint32) 1 << 30)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many different performers, tasks or labels in one inference")));
	names->name = budget_grow(budget, names->name, old * sizeof(NameText *), 2 * (Size) old * sizeof(NameText *));
	names->hash = budget_grow(budget, names->hash, old * sizeof(uint32), 2 * (Size) old * sizeof(uint32));
	budget_free(budget, names->slot, names->slots * sizeof(uint32));
	names->capacity = 2 * old;
	names->slots = 2 * names->capacity;
	names->slot = budget_array_zero(budget, uint32, names->slots);
	for (uint32 number = 0; number < names->count; number++)
	{
		if ((number & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		put_in_slot(names, number);
	}
}

static NameText *
store_name(Names *names, const char *bytes, uint32 length)
{
	Size		size = INTALIGN(offsetof(NameText, bytes) + length);
	NameText	   *name;

	if (size > CHUNK_SIZE / 8)
		name = budget_alloc(names->budget, size);
	else
	{
		if (size > names->left)
		{
			names->chunk = budget_alloc(names->budget, CHUNK_SIZE);
			names->left = CHUNK_SIZE;
		}
		name = (NameText *) names->chunk;
		names->chunk += size;
		names->left -= size;
	}
	name->length = length;
	memcpy(name->bytes, bytes, length);
	return name;
}

uint32
names_number(Names *names, const char *bytes, uint32 length)
{
	uint32		hash = hash_bytes((const unsigned char *) bytes, length);
	uint32		i = hash & (names->slots - 1);
	uint32		number;

	while (names->slot[i] != 0)
	{
		number = names->slot[i] - 1;
		if (names->hash[number] == hash && names->name[number]->length == length &&
			memcmp(names->name[number]->bytes, bytes, length) == 0)
			return number;
		i = (i + 1) & (names->slots - 1);
	}
	if (names->count == names->capacity)
		double_capacity(names);
	number = names->count;
	names->name[number] = store_name(names, bytes, length);
	names->hash[number] = hash;
	names->count++;
	put_in_slot(names, number);
	return number;
}

void
names_seal(Names *names)
{
	budget_free(names->budget, names->hash, names->capacity * sizeof(uint32));
	budget_free(names->budget, names->slot, names->slots * sizeof(uint32));
	names->hash = NULL;
	names->slot = NULL;
}

int
names_compare(const Names *names, uint32 a, uint32 b)
{
	const NameText *x = names->name[a];
	const NameText *y = names->name[b];
	int			result = memcmp(x->bytes, y->bytes, Min(x->length, y->length));

	if (result == 0)
		return x->length < y->length ? -1 : x->length > y->length;
	return result;
}

Datum
names_text(const Names *names, uint32 number)
{
	const NameText *name = names->name[number];

	return PointerGetDatum(cstring_to_text_with_len(name->bytes, name->length));
}

char *
names_cstring(const Names *names, uint32 number)
{
	const NameText *name = names->name[number];

	return pnstrdup(name->bytes, name->length);
}
