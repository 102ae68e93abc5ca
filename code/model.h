/* Tangled from chapters/32-model-folders.md; edit there. */
#ifndef MODEL_H
#define MODEL_H

#include "parameters.h"

#include <stdbool.h>
#include <stdint.h>

/* Model folders in Hugging Face's format, and the student made from a teacher. Weights
   here are vectors in the computer's memory, laid out by a plan: values[plan->size]. */

/* State how a model folder is read */
/* model_shape: the shape that the folder's config.json states; BERT or DistilBERT.
   Fails, naming the key, where one is missing or asks for what this program does not
   compute (another family, an activation other than GELU, relative positions, a
   decoder, pruned heads), if the vocabulary has more pieces than the word table has
   rows, and if the folder has weights whose encoder is not of that shape. */
struct shape model_shape(const char *folder);

/* model_head: the head with which the folder was saved, by its "architectures";
   HEAD_NONE for one we have no use for. classes: how many; 0 without a classifier. */
enum head model_head(const char *folder, int *classes);

/* model_read: reads the folder's model.safetensors into values[plan->size], whose gaps
   must be zero. Accepts names with and without the prefix bert. or distilbert.,
   LayerNorm.gamma and .beta, and F32, F16 and BF16. The encoder must be complete, and
   every tensor of the plan's shape: it fails otherwise, naming the tensor.
   found[plan->count] tells which of the head's arrays were there too; NULL: they all
   must be. */
void model_read(const char *folder, const struct parameters *plan, float *values,
                bool *found);

/* State how fresh weights are made */
/* model_initialise: gives fresh weights to the arrays that were not found;
   found[plan->count], NULL: to all. Matrices: N(0, range), range being the shape's
   initializer_range; gains: 1; biases: 0; the word table's first row, [PAD]'s: 0, as
   PyTorch's padding_idx. The same seed gives an array the same numbers, whatever else
   is fresh. */
void model_initialise(const struct parameters *plan, float range, float *values,
                      const bool *found, uint64_t seed);

/* State how a model folder is written */
/* model_write: writes config.json, vocab.txt (the pieces of vocab_path, a file or a
   folder as vocabulary_read takes it; a tokenizer.json in the folder is removed),
   tokenizer_config.json and model.safetensors into
   the folder, made if it is missing. The weights come last and whole: a folder that has
   them is complete. It loads with transformers' AutoTokenizer and, by the head,
   AutoModelForMaskedLM, AutoModelForSequenceClassification or
   AutoModelForQuestionAnswering. */
void model_write(const char *folder, const struct shape *shape,
                 const struct parameters *plan, enum head head, int classes,
                 const float *values, const char *vocab_path);

/* State how a student is made */
/* model_student_shape: a DistilBERT with this many layers, else of the teacher's sizes
   and rates; without token types. */
struct shape model_student_shape(const struct shape *teacher, int layers);

/* model_student: fills values[student->size] from the teacher's: layer i from the
   teacher's layer layers[i], counted from 0; embeddings and MLM head as they are. Both
   plans have the same head. Fails, naming the array, if the teacher's does not fit. */
void model_student(const struct parameters *teacher, const float *teacher_values,
                   const int *layers, const struct parameters *student, float *values);

#endif
