/* Tangled from chapters/51-training.md; edit there. */
#include "training.h"
#include "fail.h"

#include <math.h>

/* Count the steps */
static int parts_of(const struct stage *stage, const char *sections)
{
    int parts = (int)settings_count(stage->settings, sections, "accumulate");
    if (parts == 0)
        fail(sections, "expected accumulate to be 1 or more");
    return parts;
}

long training_steps(const struct stage *stage, const char *sections, long batches)
{
    int parts = parts_of(stage, sections);
    return (batches + parts - 1) / parts;
}

/* Read the settings of the optimiser */
static struct optimizer_settings optimizer_read(const struct stage *stage,
                                                const char *sections, long steps)
{
    struct settings *s = stage->settings;
    return (struct optimizer_settings){
        .rate = (float)settings_number(s, sections, "rate"),
        .beta1 = (float)settings_number(s, sections, "beta1"),
        .beta2 = (float)settings_number(s, sections, "beta2"),
        .epsilon = (float)settings_number(s, sections, "epsilon"),
        .decay = (float)settings_number(s, sections, "decay"),
        .clip = (float)settings_number(s, sections, "clip"),
        .warmup = settings_number(s, sections, "warmup"),
        .linear_decay = settings_choice(s, sections, "schedule", "constant linear")
                        == 1,
        .steps = steps,
    };
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
    int parts = parts_of(stage, training->sections);
    long steps = training_steps(stage, training->sections, training->batches);
    struct optimizer_settings settings = optimizer_read(stage, training->sections,
                                                        steps);
    struct optimizer *optimizer = optimizer_create(training->model, &settings);
    double every = settings_number(stage->settings, "run", "checkpoint"); /* seconds */
    settings_finish(stage->settings, training->sections);
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
