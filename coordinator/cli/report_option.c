#include "coordinator/cli/report_option.h"

struct flags_row report_option_out_row(const char **folder, const char *help)
{
    return (struct flags_row){.name = "out",
                              .letter = 'o',
                              .type = FLAGS_TEXT,
                              .target = folder,
                              .value = "DIR",
                              .help = help};
}

struct flags_row report_option_chart_row(bool *chart)
{
    return (struct flags_row){.name = "chart",
                              .type = FLAGS_SWITCH,
                              .target = chart,
                              .help = "draw charts as text even when the output is no terminal"};
}

struct flags_row report_option_json_row(bool *json, const char *help)
{
    return (struct flags_row){.name = "json", .type = FLAGS_SWITCH, .target = json, .help = help};
}
