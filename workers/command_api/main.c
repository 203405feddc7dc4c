// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/worker.h"

int main(int argc, char **argv)
{
    return worker_main(&command_api_worker, argc, argv);
}
