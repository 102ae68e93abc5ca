/* Tangled from chapters/51-training.md; edit there. */
#include "training.h"
#include "fail.h"

#include <math.h>

/* Count the steps */
long training_steps(const struct recipe *recipe, long batches)
{
    return (batches + recipe->accumulate - 1) / recipe->accumulate;
}

/* Take one step */
static int64_t take_step(const struct training *training, struct optimizer *optimizer,
                         long step, int parts, struct loss_values *values)
{
    long first = step * parts, last = first + parts;
    if (last > training->batches)
        last = training->batches;
    float share = 1.0f / (float)(last - first);
    int64_t tokens = 0;
    for (long index = first; index < last; index++)
        tokens += training->work(training->context, index, share,
                                 index == last - 1 ? values : NULL);
    optimizer_step(optimizer, step);
    if (values && !isfinite(values->total))
        fail(training->name,
             "the loss is not finite at step %ld; a lower rate may help", step + 1);
    return tokens;
}

/* Add a row of mean losses */
static void add_row(struct record *record, const struct loss_values *values, long step,
                    float rate, int64_t tokens, double seconds)
{
    double row[] = {
        (double)record_tokens(record), values->total, values->mlm, values->kl,
        values->cosine, values->masked ? (double)values->correct / values->masked : 0,
        rate,
        (double)tokens / seconds,
    };
    record_row(record, "",
               "tokens\tloss\tmlm\tkl\tcosine\taccuracy\trate\ttokens_per_second", step,
               row, 8);
}

/* Train from the first step to the last */
void training_run(const struct stage *stage, const struct training *training,
                  struct record *record)
{
    enum { ROWS = 200, VALIDATIONS = 20 };
    int parts = training->recipe->accumulate;
    long steps = training_steps(training->recipe, training->batches);
    struct optimizer_settings settings = training->recipe->optimizer;
    settings.steps = steps;
    struct optimizer *optimizer = optimizer_create(training->model, &settings);
    double every = stage->plan->checkpoint; /* seconds */
    long row = steps > ROWS ? steps / ROWS : 1;
    long validation = (steps / VALIDATIONS + row) / row * row; /* where a row is due */
    struct checkpoint *checkpoint = checkpoint_open(stage, training->name,
                                                    training->model, optimizer, record);
    long step = checkpoint_read(checkpoint);
    if (step == 0 && training->validate)
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
        if (training->validate && (step % validation == 0 || step == steps))
            training->validate(training->context, step);
        if (every > 0 && due && step < steps && record_seconds(record) - saved >= every
            && checkpoint_write(checkpoint, step))
            saved = record_seconds(record);
    }
    checkpoint_close(checkpoint);
    optimizer_free(optimizer);
}
