/* Tangled from chapters/59-trust.md; edit there. */
#include "artifact.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "stage.h"
#include "sum.h"
#include "trust.h"
#include "verify.h"

#include <stdlib.h>
#include <string.h>

/* Put texts and files into the folder */
/* An artifact that is being filled. */
struct artifact {
    const struct stage *stage; /* run: where from; out: where to */
    json_t *sums, *sizes;      /* of what is in it, {name: sum}, {name: bytes} */
    json_t *values, *given;    /* values.json and results.json of the run */
};

/* Puts a file of these bytes into the folder. */
static void put(struct artifact *a, const char *name, const char *bytes, size_t size)
{
    char *path = text_format("%s/%s", a->stage->out, name);
    struct file_writer *writer = file_create(path);
    fwrite(bytes, 1, size, file_stream(writer));
    file_commit(writer);
    json_object_set_new(a->sums, name, json_string(sum_bytes(bytes, size).digits));
    json_object_set_new(a->sizes, name, json_sprintf("%zu", size));
    free(path);
}

static void put_copy(struct artifact *a, const char *name)
{
    size_t size;
    char *path = stage_path(a->stage, "%s", name), *bytes = file_read(path, &size);
    put(a, name, bytes, size);
    free(bytes);
    free(path);
}

/* Puts a text into the folder, which it takes over. */
static void put_text(struct artifact *a, const char *name, char *text)
{
    put(a, name, text, strlen(text));
    free(text);
}

static const char *value(const struct artifact *a, const char *key)
{
    return json_string_value(json_object_get(a->values, key));
}

/* Refuse to pack what is not finished */
static void expect_finished(const struct artifact *a)
{
    static const char *const names[] = {"bench.json", "report.pdf", "summary.pdf"};
    if (value(a, "missing"))
        fail(a->stage->run, "is not finished: %s; make report, with the same PROFILE, "
             "goes on", value(a, "missing"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = stage_path(a->stage, "%s", names[i]);
        if (!file_exists(path))
            fail(path, "is missing; make report, with the same PROFILE, makes it");
        free(path);
    }
}

/* Describe the artifact to people */
/* The text in quotation marks; for the caller to free. */
static char *quoted(const char *text)
{
    json_t *string = json_string(text);
    char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    if (!quoted)
        fail(text, "is not UTF-8");
    json_decref(string);
    return quoted;
}

static const char *author_of(const struct artifact *a)
{
    const char *author = a->stage->author;
    return author && *author ? author : "an author who is not named";
}

static void put_citation(struct artifact *a)
{
    char *title = quoted(a->stage->title), *author = quoted(author_of(a)),
         *version = quoted(value(a, "run.code"));
    /* Put the citation into the folder */
    put_text(a, "CITATION.cff",
             text_format("cff-version: 1.2.0\n"
                         "message: If you use these results, please cite them so.\n"
                         "type: dataset\n"
                         "title: %s\n"
                         "authors:\n"
                         "  - name: %s\n"
                         "date-released: %s\n"
                         "version: %s\n"
                         "license: MIT\n",
                         title, author, value(a, "run.date"), version));
    free(title);
    free(author);
    free(version);
}

/* What the artifact is, in a sentence or two; for the caller to free. */
static char *description(const struct artifact *a)
{
    return text_format("What the profile %s of a reproduction of DistilBERT left on "
                       "%s: its report, and all that the report's numbers were "
                       "computed from. The student %s. The weights of the models are "
                       "not in it; no score is computed from them.",
                       value(a, "run.profile"), value(a, "run.device"),
                       value(a, "retention.student.sentence"));
}

static void put_readme(struct artifact *a)
{
    char *about = description(a);
    put_text(a, "README.md",
             text_format("# %s\n\n%s\n\n"
                         "`report.pdf` is the report, `summary.pdf` its first pages, "
                         "`summary.json` the numbers. `sha256sum -c SHA256SUMS` "
                         "checks the files. In the project that made them, "
                         "`make verify ARTIFACT=` and this folder, or the archive "
                         "that it came in, does that too and computes every number "
                         "again from `predictions/`, in seconds and without "
                         "training; the code is that of %s. With the data at hand, "
                         "`run.settings` as `PROFILE` runs the experiment again.\n",
                         a->stage->title, about, value(a, "run.code")));
    free(about);
}

/* Describe the artifact to programs */
static json_t *link_to(const char *id)
{
    return json_pack("{s:s}", "@id", id);
}

static const char *format_of(const char *name)
{
    static const char *const formats[][2] = {
        {".json", "application/json"}, {".tsv", "text/tab-separated-values"},
        {".pdf", "application/pdf"},   {".md", "text/markdown"},
        {".cff", "application/yaml"}};
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending && i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(ending, formats[i][0]))
            return formats[i][1];
    return "text/plain";
}

/* Adds an entity for each file of the artifact, and links to them to parts. */
static void add_files(const struct artifact *a, json_t *graph, json_t *parts)
{
    const char *name;
    json_t *sum;
    json_object_foreach(a->sums, name, sum) {
        json_array_append_new(parts, link_to(name));
        json_array_append_new(graph, json_pack("{s:s, s:s, s:s, s:O, s:O}", "@id", name,
                                               "@type", "File", "encodingFormat",
                                               format_of(name), "contentSize",
                                               json_object_get(a->sizes, name),
                                               "sha256", sum));
    }
}

/* Adds entities of a type, "#PREFIX-NAME" with the texts of an object as key, and links
   to them to a list. */
static void add_entities(const json_t *texts, const char *type, const char *prefix,
                         const char *key, json_t *graph, json_t *links)
{
    const char *name;
    json_t *text;
    json_object_foreach((json_t *)texts, name, text) {
        char *id = text_format("#%s-%s", prefix, name);
        json_array_append_new(links, link_to(id));
        json_array_append_new(graph, json_pack("{s:s, s:s, s:s, s:O}", "@id", id,
                                               "@type", type, "name", name, key, text));
        free(id);
    }
}

/* Adds the run of the experiment: from these data, by this software, to these files. */
static void add_action(const struct artifact *a, const json_t *summary, json_t *graph)
{
    json_t *tools = json_array(), *objects = json_array();
    /* List what the run was made with and from */
    json_t *program = json_pack("{s:O}", "distil", json_object_get(a->given, "code"));
    add_entities(program, "SoftwareApplication", "software", "version", graph, tools);
    add_entities(json_object_get(a->given, "versions"), "SoftwareApplication",
                 "software", "version", graph, tools);
    json_array_append_new(objects, link_to("run.settings"));
    add_entities(json_object_get(summary, "data"), "CreativeWork", "data", "sha256",
                 graph, objects);
    char *name = text_format("make report PROFILE=%s", value(a, "run.profile"));
    /* Add the action to the graph */
    json_array_append_new(
        graph, json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:[o, o, o]}", "@id",
                         "#run", "@type", "CreateAction", "name", name, "endTime",
                         value(a, "run.date"), "agent", link_to("#author"),
                         "instrument", tools, "object", objects, "result",
                         link_to("report.pdf"), link_to("summary.pdf"),
                         link_to("summary.json")));
    json_decref(program);
    free(name);
}

static const char licence[] = "https://spdx.org/licenses/MIT";

/* The entities that are no files; the caller releases the list. */
static json_t *start_graph(const struct artifact *a, json_t *parts)
{
    char *about = description(a);
    /* Start the graph with its root */
    json_t *graph = json_pack(
        "[{s:s, s:s, s:o, s:o}, {s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o},"
        " {s:s, s:s, s:s}, {s:s, s:s, s:s}]",
        "@id", "ro-crate-metadata.json", "@type", "CreativeWork", "conformsTo",
        link_to("https://w3id.org/ro/crate/1.1"), "about", link_to("./"),
        "@id", "./", "@type", "Dataset", "name", a->stage->title, "description", about,
        "datePublished", value(a, "run.date"), "license", link_to(licence), "author",
        link_to("#author"), "mainEntity", link_to("report.pdf"), "mentions",
        link_to("#run"), "hasPart", parts,
        "@id", licence, "@type", "CreativeWork", "name", "MIT License",
        "@id", "#author", "@type", "Person", "name", author_of(a));
    if (!graph)
        fail(a->stage->out, "cannot be described; expected title and author in UTF-8");
    free(about);
    return graph;
}

static void put_crate(struct artifact *a)
{
    json_t *parts = json_array(), *graph = start_graph(a, parts);
    char *path = stage_path(a->stage, "summary.json");
    json_t *summary = json_read(path);
    add_action(a, summary, graph);
    add_files(a, graph, parts);
    /* Add the list of sums without a sum of its own */
    json_array_append_new(parts, link_to("SHA256SUMS"));
    json_array_append_new(graph, json_pack("{s:s, s:s, s:s}", "@id", "SHA256SUMS",
                                           "@type", "File", "encodingFormat",
                                           format_of("SHA256SUMS")));
    /* Put the graph into the folder */
    json_t *crate = json_pack("{s:[s, {s:s}], s:o}", "@context",
                              "https://w3id.org/ro/crate/1.1/context", "sha256",
                              "https://schema.org/sha256", "@graph", graph);
    char *text = json_dumps(crate, JSON_INDENT(1) | JSON_SORT_KEYS);
    put_text(a, "ro-crate-metadata.json", text_format("%s\n", text));
    free(text);
    json_decref(crate);
    json_decref(summary);
    free(path);
}

/* Run the command that packs */
static const char usage[] =
    "usage: distil artifact --run DIR --out DIR --title TEXT [--author TEXT]\n"
    "\n"
    "Verifies a finished run and fills a new folder with all that a grader needs of\n"
    "it: reports, summary, predictions, curves, tables, settings and records, without\n"
    "the weights of models; and with README.md, CITATION.cff, ro-crate-metadata.json\n"
    "and SHA256SUMS. distil verify takes such a folder.\n";

/* Write the list of sums */
static void put_sums(struct artifact *a)
{
    size_t count = 0;
    const char *name, **names = allocate(json_object_size(a->sums), sizeof *names);
    json_t *sum;
    json_object_foreach(a->sums, name, sum) {
        names[count++] = name;
    }
    qsort(names, count, sizeof *names, text_order);
    /* Write a line for each of these names */
    char *path = text_format("%s/SHA256SUMS", a->stage->out);
    struct file_writer *writer = file_create(path);
    for (size_t i = 0; i < count; i++)
        fprintf(file_stream(writer), "%s  %s\n",
                json_string_value(json_object_get(a->sums, names[i])), names[i]);
    file_commit(writer);
    free(path);
    free(names);
}

int artifact_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage, "--run --out --title");
    if (file_exists(stage.out))
        fail(stage.out, "is there already; expected a folder that is to be made");
    struct artifact a = {.stage = &stage, .sums = json_object(),
                         .sizes = json_object()};
    /* Verify the run and read what describes it */
    json_t *files = verify_run(stage.run, true, "");
    char *values = stage_path(&stage, "values.json"),
         *given = stage_path(&stage, "results.json");
    a.values = json_read(values);
    a.given = json_read(given);
    free(values);
    free(given);
    expect_finished(&a);
    /* Fill the folder */
    const char *name;
    json_t *sum;
    json_object_foreach(files, name, sum) {
        if (!trust_is_weights(name))
            put_copy(&a, name);
    }
    put_copy(&a, "report.pdf");
    put_copy(&a, "summary.pdf");
    put_citation(&a);
    put_readme(&a);
    put_crate(&a);
    put_sums(&a);
    json_decref(files);
    json_decref(a.values);
    json_decref(a.given);
    json_decref(a.sums);
    json_decref(a.sizes);
    stage_close(&stage);
    return 0;
}
