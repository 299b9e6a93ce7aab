/* The subcommands of `longhaul`. Each takes its own argv (argv[0] is the subcommand) and returns
 * the exit code. */
#pragma once

int run_command(int argc, char **argv);
int generate_command(int argc, char **argv);
int batch_command(int argc, char **argv);
int document_command(int argc, char **argv);
int store_command(int argc, char **argv);
int bench_command(int argc, char **argv);
int calibrate_command(int argc, char **argv);
int load_command(int argc, char **argv);
int session_command(int argc, char **argv);
int chat_command(int argc, char **argv);
int score_command(int argc, char **argv);
int tokenize_command(int argc, char **argv);
int status_command(int argc, char **argv);
int cancel_command(int argc, char **argv);
int plan_command(int argc, char **argv);
int scale_command(int argc, char **argv);
int convert_command(int argc, char **argv);
int compare_command(int argc, char **argv);
int eval_command(int argc, char **argv);
int inspect_command(int argc, char **argv);
int drain_command(int argc, char **argv);
int token_command(int argc, char **argv);
int tune_command(int argc, char **argv);
int train_command(int argc, char **argv);
int recipe_command(int argc, char **argv);
int config_command(int argc, char **argv);
int doctor_command(int argc, char **argv);
