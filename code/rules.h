/* Tangled from chapters/46-rules.md; edit there. */
#ifndef RULES_H
#define RULES_H

/* plan_main: the command `distil plan`; argv[0] is "plan". */
int plan_main(int argc, char **argv);

#endif
