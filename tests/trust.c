/* Records that seal themselves, and files that are held to their sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "catch.h"
#include "folder.h"
#include "seal.h"
#include "sum.h"
#include "trust.h"

#include <unistd.h>

static void write_bytes(const char *path, const char *bytes, size_t size)
{
    FILE *stream = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    fclose(stream);
}

/* Whatever bit of a record is another, and wherever it ends, it is none. */
static void a_record_is_whole_or_none(void **unused)
{
    (void)unused;
    char *path = folder_path("stages/record.json");
    json_t *object = json_pack("{s:s, s:f, s:{s:s}}", "key", "0123", "seconds", 0.1, "inner", "sum", "7");
    seal_write(path, object);
    size_t size;
    char *whole = file_read(path, &size);
    json_t *read = seal_read(path);
    assert_non_null(read);
    assert_string_equal(json_string_value(json_object_get(read, "key")), "0123");
    assert_float_equal(json_real_value(json_object_get(read, "seconds")), 0.1, 0);
    assert_int_equal(strlen(json_string_value(json_object_get(read, "sum"))), SUM_DIGITS);
    json_decref(read);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        whole[bit / 8] = (char)(whole[bit / 8] ^ 1 << bit % 8);
        write_bytes(path, whole, size);
        whole[bit / 8] = (char)(whole[bit / 8] ^ 1 << bit % 8);
        assert_null(seal_read(path));
    }
    for (size_t length = 0; length < size; length++) {
        write_bytes(path, whole, length);
        assert_null(seal_read(path));
    }
    write_bytes(path, whole, size);
    read = seal_read(path);
    assert_non_null(read);
    unlink(path);
    assert_null(seal_read(path));
    json_decref(read);
    json_decref(object);
    free(whole);
    free(path);
}

/* What is wrong with the one file NAME that should have this sum; "" if nothing is. */
static const char *fault_of(const char *name, const char *sum, bool weights)
{
    static char said[256];
    json_t *sums = json_pack("{s:s}", name, sum);
    char *fault = trust_fault(folder, sums, weights);
    snprintf(said, sizeof said, "%s", fault ? fault : "");
    free(fault);
    json_decref(sums);
    return said;
}

static void files_are_held_to_their_sums(void **unused)
{
    (void)unused;
    free(folder_put("curves/a.tsv", "step\tloss\n"));
    struct sum sum = sum_bytes("step\tloss\n", 10), other = sum_bytes("step\tloss", 9);
    assert_string_equal(fault_of("curves/a.tsv", sum.digits, true), "");
    assert_string_equal(fault_of("curves/a.tsv", other.digits, true), "curves/a.tsv is damaged");
    assert_string_equal(fault_of("curves/a.tsv", "", true), "curves/a.tsv is damaged");
    assert_string_equal(fault_of("curves/b.tsv", sum.digits, true), "curves/b.tsv is missing");
    assert_string_equal(fault_of("curves", sum.digits, true), "curves is not a file");
    assert_string_equal(fault_of("/etc/passwd", sum.digits, true), "/etc/passwd leads out of the folder");
    assert_string_equal(fault_of("curves/../../x", sum.digits, true), "curves/../../x leads out of the folder");
}

/* A packed run has no weights; those that it has are held to their sums all the same. */
static void weights_may_be_left_out(void **unused)
{
    (void)unused;
    const char *name = "models/student/model.safetensors";
    struct sum sum = sum_bytes("x", 1);
    assert_string_equal(fault_of(name, sum.digits, true), "models/student/model.safetensors is missing");
    assert_string_equal(fault_of(name, sum.digits, false), "");
    free(folder_put(name, "y"));
    assert_string_equal(fault_of(name, sum.digits, false), "models/student/model.safetensors is damaged");
    assert_true(trust_is_weights(name));
    assert_false(trust_is_weights("safetensors"));
    assert_false(trust_is_weights("model.safetensors.md"));
}

static void what_a_stage_began_with_must_be_there_still(void **unused)
{
    (void)unused;
    json_t *from = json_pack("{s:s, s:s}", "models/a", "1", "models/elsewhere", "2");
    json_t *left = json_pack("{s:s, s:s}", "models/a", "1", "models/b", "3");
    assert_null(trust_origin(from, left));
    assert_null(trust_origin(NULL, left));
    json_object_set_new(left, "models/a", json_string("4"));
    char *fault = trust_origin(from, left);
    assert_string_equal(fault, "models/a is another than it was made from");
    free(fault);
    json_decref(from);
    json_decref(left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_record_is_whole_or_none, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(files_are_held_to_their_sums, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(weights_may_be_left_out, folder_make, folder_remove),
        cmocka_unit_test(what_a_stage_began_with_must_be_there_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
