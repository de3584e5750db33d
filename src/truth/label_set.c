/*
 * label_set.c
 *	  Reads labels from a query into memory.
 *
 * Rows go from the executor into chunks of numbers, with no copy of a row in
 * between, and are then sorted by task.  At the highest that takes 20 bytes a
 * label, 12 of which are free again afterwards.
 */
#include "postgres.h"

#include "truth/label_set.h"
#include "truth/progress.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

typedef struct Row
{
	uint32		performer;
	uint32		task;
	uint32		label;
} Row;

#define SMALLEST_CHUNK 1024
#define LARGEST_CHUNK (256 * 1024)

typedef struct Chunk
{
	struct Chunk *next;
	uint32		used;
	uint32		capacity;
	Row			row[FLEXIBLE_ARRAY_MEMBER];
} Chunk;

typedef enum ColumnKind
{
	COLUMN_TEXT,				/* the bytes of the value are its text */
	COLUMN_INT2,
	COLUMN_INT4,
	COLUMN_INT8,
	COLUMN_OTHER				/* has an output function */
} ColumnKind;

typedef struct Column
{
	const char *name;
	Names	   *names;
	int			number;			/* 0 .. */
	ColumnKind	kind;
	FmgrInfo	output;
} Column;

#define COLUMNS 3

typedef struct Reader
{
	DestReceiver pub;
	LabelSet   *set;
	Column		column[COLUMNS];	/* worker, task, label */
	Chunk	   *chunks;			/* newest first */
	uint64		rows;
	MemoryContext row_context;
} Reader;

/* ---- receiving rows ---- */

static void
choose_column(Column *column, TupleDesc desc)
{
	Form_pg_attribute attribute;
	Oid			output;
	bool		varlena;

	column->number = -1;
	for (int i = 0; i < desc->natts; i++)
	{
		attribute = TupleDescAttr(desc, i);
		if (strcmp(NameStr(attribute->attname), column->name) != 0)
			continue;
		if (column->number >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_AMBIGUOUS_COLUMN),
					 errmsg("the query yields more than one column \"%s\"", column->name)));
		column->number = i;
	}
	if (column->number < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the query yields no column \"%s\"", column->name),
				 errdetail("Columns worker, task and label are needed."),
				 errhint("Name them in the query: SELECT ... AS worker, ... AS task, ... AS label.")));

	attribute = TupleDescAttr(desc, column->number);
	switch (getBaseType(attribute->atttypid))
	{
		case TEXTOID:
		case VARCHAROID:
			column->kind = COLUMN_TEXT;
			break;
		case INT2OID:
			column->kind = COLUMN_INT2;
			break;
		case INT4OID:
			column->kind = COLUMN_INT4;
			break;
		case INT8OID:
			column->kind = COLUMN_INT8;
			break;
		default:
			column->kind = COLUMN_OTHER;
			getTypeOutputInfo(attribute->atttypid, &output, &varlena);
			fmgr_info(output, &column->output);
	}
}

static void
reader_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	Reader	   *reader = (Reader *) self;

	for (int i = 0; i < COLUMNS; i++)
		choose_column(&reader->column[i], desc);
}

static uint32
column_number(Column *column, Datum value)
{
	char		digits[24];
	struct varlena *text;
	char	   *output;

	switch (column->kind)
	{
		case COLUMN_TEXT:
			text = PG_DETOAST_DATUM_PACKED(value);
			return names_number(column->names, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
		case COLUMN_INT2:
			return names_number(column->names, digits, pg_lltoa(DatumGetInt16(value), digits));
		case COLUMN_INT4:
			return names_number(column->names, digits, pg_lltoa(DatumGetInt32(value), digits));
		case COLUMN_INT8:
			return names_number(column->names, digits, pg_lltoa(DatumGetInt64(value), digits));
		case COLUMN_OTHER:
			output = OutputFunctionCall(&column->output, value);
			return names_number(column->names, output, strlen(output));
	}
	return 0;					/* keep the compiler quiet */
}

static Row *
next_row(Reader *reader)
{
	Chunk	   *chunk = reader->chunks;

	if (chunk == NULL || chunk->used == chunk->capacity)
	{
		uint32		capacity = chunk ? Min(2 * chunk->capacity, LARGEST_CHUNK) : SMALLEST_CHUNK;

		chunk = budget_alloc(reader->set->budget, offsetof(Chunk, row) + capacity * sizeof(Row));
		chunk->next = reader->chunks;
		chunk->used = 0;
		chunk->capacity = capacity;
		reader->chunks = chunk;
	}
	return &chunk->row[chunk->used++];
}

static bool
reader_receive(TupleTableSlot *slot, DestReceiver *self)
{
	Reader	   *reader = (Reader *) self;
	uint32		number[COLUMNS];
	MemoryContext caller;
	Row		   *row;

	slot_getallattrs(slot);
	/* he who was asked and gave no label says nothing */
	if (slot->tts_isnull[reader->column[COLUMNS - 1].number])
		return true;
	caller = MemoryContextSwitchTo(reader->row_context);
	for (int i = 0; i < COLUMNS; i++)
	{
		Column	   *column = &reader->column[i];

		if (slot->tts_isnull[column->number])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("column \"%s\" of the query is null in a row that has a label", column->name),
					 errhint("Only labels may be null: such rows are ignored.")));
		number[i] = column_number(column, slot->tts_values[column->number]);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(reader->row_context);

	row = next_row(reader);
	row->performer = number[0];
	row->task = number[1];
	row->label = number[2];
	reader->set->budget->labels = ++reader->rows;
	if ((reader->rows & 8191) == 0)
		progress_labels(reader->rows);
	return true;
}

static void
reader_shutdown(DestReceiver *self)
{
}

/* ---- running the query ---- */

static void
refuse_query(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the query of an inference must be one SELECT that only reads"),
			 errdetail_internal("%s", what)));
}

/* does a query, or one inside it, change data or lock rows? */
static bool
writes(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;

		if (query->commandType != CMD_SELECT)
			refuse_query(_("It changes data in WITH."));
		if (query->rowMarks != NIL)
			refuse_query(_("It locks rows."));
		return query_tree_walker(query, writes, context, 0);
	}
	return expression_tree_walker(node, writes, context);
}

static void
check_plan(SPIPlanPtr plan)
{
	List	   *sources = SPI_plan_get_plan_sources(plan);
	CachedPlanSource *source;
	Query	   *query;

	if (list_length(sources) == 0)
		refuse_query(_("It is empty."));
	if (list_length(sources) > 1)
		refuse_query(_("It has several statements."));
	source = linitial(sources);
	query = list_length(source->query_list) == 1 ? linitial(source->query_list) : NULL;
	if (query == NULL || query->commandType != CMD_SELECT)
		refuse_query(_("It is another command."));
	(void) writes((Node *) query, NULL);
	for (int i = 0; i < COLUMNS; i++)
	{
		static const char *const names[COLUMNS] = {"worker", "task", "label"};
		Column		column = {names[i]};

		choose_column(&column, source->resultDesc);
	}
}

/*
 * Nothing that the query calls may write either: the transaction is read-only
 * while it runs.
 */
static void
run_query(Reader *reader, const char *query)
{
	SPIExecuteOptions options = {0};
	SPIPlanPtr	plan;
	int			guc_level;
	int			result;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	guc_level = NewGUCNestLevel();
	(void) set_config_option("transaction_read_only", "on", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	plan = SPI_prepare_cursor(query, 0, NULL, CURSOR_OPT_PARALLEL_OK);
	if (plan == NULL)
		refuse_query(SPI_result_code_string(SPI_result));
	check_plan(plan);
	options.read_only = true;
	options.dest = &reader->pub;
	result = SPI_execute_plan_extended(plan, &options);
	if (result < 0)
		refuse_query(SPI_result_code_string(result));
	AtEOXact_GUC(true, guc_level);
	SPI_finish();
}

/* ---- sorting ---- */

#define ST_SORT sort_votes
#define ST_ELEMENT_TYPE Vote
#define ST_COMPARE(a, b) \
	((a)->performer != (b)->performer ? ((a)->performer < (b)->performer ? -1 : 1) : \
	 (a)->label < (b)->label ? -1 : (a)->label > (b)->label)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/* first[t] becomes the number of votes of the tasks before t */
static void
count_votes(LabelSet *set, const Chunk *chunks)
{
	uint64		before = 0;

	set->first = budget_array_zero(set->budget, uint64, (Size) set->tasks.count + 1);
	for (const Chunk *chunk = chunks; chunk; chunk = chunk->next)
	{
		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < chunk->used; i++)
			set->first[chunk->row[i].task]++;
	}
	for (uint32 task = 0; task <= set->tasks.count; task++)
	{
		uint64		count = set->first[task];

		set->first[task] = before;
		before += count;
		if (count > PG_INT32_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many labels for one task")));
	}
}

/* puts the votes where their tasks begin; first[t] moves to the end of t */
static void
place_votes(LabelSet *set, Chunk *chunks)
{
	while (chunks)
	{
		Chunk	   *next = chunks->next;

		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < chunks->used; i++)
		{
			const Row  *row = &chunks->row[i];
			Vote	   *vote = &set->votes[set->first[row->task]++];

			vote->performer = row->performer;
			vote->label = row->label;
		}
		budget_free(set->budget, chunks, offsetof(Chunk, row) + chunks->capacity * sizeof(Row));
		chunks = next;
	}
}

static void
drop_duplicates(LabelSet *set)
{
	uint64		from = 0;
	uint64		kept = 0;

	for (uint32 task = 0; task < set->tasks.count; task++)
	{
		uint64		upto = set->first[task];
		uint64		begin = kept;

		CHECK_FOR_INTERRUPTS();
		sort_votes(&set->votes[from], upto - from);
		for (uint64 i = from; i < upto; i++)
		{
			const Vote *vote = &set->votes[i];

			if (i > from && vote->performer == set->votes[kept - 1].performer &&
				vote->label == set->votes[kept - 1].label)
				continue;
			set->votes[kept++] = *vote;
		}
		set->most = Max(set->most, (uint32) (kept - begin));
		set->first[task] = begin;
		from = upto;
	}
	set->first[set->tasks.count] = kept;
	set->count = kept;
}

LabelSet *
label_set_read(const char *query)
{
	Reader		reader = {{reader_receive, reader_startup, reader_shutdown, reader_shutdown, DestNone}};
	LabelSet   *set = palloc0(sizeof(LabelSet));

	set->budget = budget_create();
	names_init(&set->performers, set->budget);
	names_init(&set->tasks, set->budget);
	names_init(&set->labels, set->budget);
	reader.set = set;
	reader.column[0] = (Column) {"worker", &set->performers};
	reader.column[1] = (Column) {"task", &set->tasks};
	reader.column[2] = (Column) {"label", &set->labels};
	reader.row_context = AllocSetContextCreate(set->budget->context, "taskex inference row",
											   ALLOCSET_DEFAULT_SIZES);
	progress_phase("reading", 0, 0);
	run_query(&reader, query);
	progress_labels(reader.rows);

	progress_phase("sorting", 0, 0);
	names_seal(&set->performers);
	names_seal(&set->tasks);
	names_seal(&set->labels);
	set->votes = budget_array(set->budget, Vote, reader.rows);
	count_votes(set, reader.chunks);
	place_votes(set, reader.chunks);
	drop_duplicates(set);
	progress_counts(set->count, set->tasks.count, set->performers.count);
	return set;
}
