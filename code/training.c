/* Tangled from chapters/21-training.md; edit there. */
#include "training.h"
#include "fail.h"

#include <math.h>
#include <stdlib.h>

/* Count the steps */
long training_steps(const struct recipe *recipe, long batches)
{
    return (batches + recipe->accumulate - 1) / recipe->accumulate;
}

/* Add up what the ranks have measured */
/* What ranks know of a step. */
struct measured {
    int64_t tokens;
    struct loss_values values; /* all 0 if nobody asks */
};

static struct measured add_up(const struct measured *mine)
{
    struct measured *all = allocate((size_t)ranks_count(), sizeof *all), whole = *all;
    ranks_gather(mine, all, sizeof *all);
    for (int rank = 0; rank < ranks_count(); rank++) {
        whole.tokens += all[rank].tokens;
        loss_values_join(&whole.values, &all[rank].values);
    }
    free(all);
    return whole;
}

/* Take one step */
static int64_t take_step(const struct training *training, struct optimizer *optimizer,
                         long step, int parts, struct loss_values *values)
{
    /* Find this rank's pieces of the step */
    long ranks = ranks_count(), rank = ranks_rank(), first = step * parts * ranks;
    long last = (step + 1) * parts, pieces = 0, own = -1; /* own: this rank's last */
    last = ranks * (last < training->batches ? last : training->batches);
    for (long index = first; index < last; index++)
        if (!cut_empty(training->cut, index)) {
            pieces++;
            own = index % ranks == rank ? index : own;
        }
    struct measured mine = {0};
    for (long index = first + rank; index <= own; index += ranks)
        mine.tokens += training->work(training->context, index, 1.0f / (float)pieces,
                                      values && index == own ? &mine.values : NULL);
    optimizer_step(optimizer, step);
    struct measured whole = add_up(&mine);
    /* Hand out the losses if they are numbers */
    if (values)
        *values = whole.values;
    if (values && !isfinite(values->total))
        fail(training->name,
             "the loss is not finite at step %ld; a lower rate may help", step + 1);
    return whole.tokens;
}

/* Add a row of mean losses */
static void add_row(struct record *record, const struct loss_values *values, long step,
                    float rate, int64_t tokens, double seconds)
{
    bool related = values->terms[3].weight > 0;
    double row[] = {
        (double)record_tokens(record), values->total, values->mlm, values->kl,
        values->cosine, values->masked ? (double)values->correct / values->masked : 0,
        rate,
        (double)tokens / seconds,
        values->relations,
    };
    record_row(record, "",
               related ? "tokens\tloss\tmlm\tkl\tcosine\taccuracy\trate\t"
                         "tokens_per_second\trelations"
                       : "tokens\tloss\tmlm\tkl\tcosine\taccuracy\trate\t"
                         "tokens_per_second", step, row, related ? 9 : 8);
}

/* Train from the first step to the last */
void training_run(const struct stage *stage, const struct training *training,
                  struct record *record)
{
    /* Say when what is due */
    enum { ROWS = 200, VALIDATIONS = 20 };
    int parts = training->recipe->accumulate;
    long steps = training_steps(training->recipe, training->batches);
    struct optimizer_settings settings = training->recipe->optimizer;
    settings.steps = steps;
    settings.batches = parts;
    struct optimizer *optimizer = optimizer_create(training->model, &settings);
    double every = stage->plan->checkpoint; /* seconds */
    bool leads = ranks_rank() == 0, validates = leads && training->validate;
    long row = steps > ROWS ? steps / ROWS : 1;
    long validation = (steps / VALIDATIONS + row) / row * row; /* where a row is due */
    /* Begin with the first step or with a checkpoint */
    struct checkpoint *checkpoint = checkpoint_open(stage, training->name,
                                                    training->model, optimizer, record);
    long step = checkpoint_read(checkpoint);
    if (step == 0 && validates)
        training->validate(training->context, 0);
    struct loss_values values = {0};
    int64_t seen = record_tokens(record); /* at the last row, and the clock then */
    double clock = record_seconds(record), saved = clock;
    record_expect(record, steps);
    while (step < steps) {
        bool due = (step + 1) % row == 0 || step + 1 == steps;
        int64_t tokens = take_step(training, optimizer, step, parts,
                                   due ? &values : NULL);
        step++;
        record_step(record, step, tokens, values.total);
        /* Write down what is due after a step */
        if (due) {
            add_row(record, &values, step, optimizer_rate(&settings, step - 1),
                    record_tokens(record) - seen, record_seconds(record) - clock);
            seen = record_tokens(record);
            clock = record_seconds(record);
        }
        if (validates && (step % validation == 0 || step == steps))
            training->validate(training->context, step);
        if (leads && every > 0 && due && step < steps
            && record_seconds(record) - saved >= every && checkpoint_write(checkpoint, step))
            saved = record_seconds(record);
    }
    checkpoint_close(checkpoint);
    optimizer_free(optimizer);
}
