/* Tangled from chapters/25-corpus.md; edit there. */
#ifndef CORPUS_H
#define CORPUS_H

#include "batch.h"
#include "tokenizer.h"

#include <stdbool.h>
#include <stdint.h>

/* A text as sequences of pieces, each [CLS] ... [SEP], laid end to end. Sequence s owns
   ids[starts[s]] .. ids[starts[s + 1] - 1]. */
struct corpus {
    int *ids;          /* [tokens] */
    int64_t *starts;   /* [sequences + 1] */
    int *firsts;       /* [sequences] length of the first segment; NULL: of all of it */
    int sequences;
    int64_t tokens;    /* [CLS] and [SEP] included */
    int64_t whole;     /* what tokens would be without token_limit: "tokens of whole" */
};

/* State what can be done with a corpus */
/* corpus_read: reads a text of one or more files, one sequence a line: WikiText (either
   edition), Wikipedia's <doc> ... </doc>, or plain lines. paths: [files]. Lines without
   pieces and <doc> tags are dropped; <unk> is [UNK]; WikiText's " @-@ ", " @,@ " and "
   @.@ " lose their at-signs. A line of more than max_length tokens, the two specials
   included, is cut there or, with split_long, goes on in further sequences. token_limit
   > 0 keeps only the leading sequences that fit into so many tokens. Fails, naming the
   file, if one cannot be read, and naming the first if no sequence is left. */
struct corpus *corpus_read(const struct tokenizer *tokenizer, char *const *paths,
                           int files, int max_length, bool split_long,
                           int64_t token_limit);
void corpus_free(struct corpus *corpus);

/* corpus_mix: the sequences of count > 0 corpora, which take turns: the next is from
   the one that has given the fewest tokens so far, the first such, as long as it has
   any. token_limit > 0 keeps only the leading ones that fit into so many tokens. Frees
   the corpora. */
struct corpus *corpus_mix(struct corpus *const *corpora, int count,
                          int64_t token_limit);

/* corpus_batch: clears the batch and fills it with sequences order[first ..
   first+count-1] (fewer at the end of the corpus), each padded to pad_to tokens (0:
   not). order: from batch_order, or NULL for the corpus's own order. */
void corpus_batch(const struct corpus *corpus, const int *order, int first, int count,
                  struct batch *batch, int pad_to);

/* corpus_mask: BERT's masking of a whole batch (Devlin et al. 2019, section 3.1). Each
   token that is not special is chosen with probability rate; labels hold the chosen
   tokens' pieces, NO_LABEL elsewhere; of the chosen, 80 % become [MASK], 10 % any piece
   of the vocabulary, 10 % stay. A pure function of (seed, step, place in the batch). */
void corpus_mask(const struct tokenizer *tokenizer, struct batch *batch, uint64_t seed,
                 int64_t step, float rate);

#endif
