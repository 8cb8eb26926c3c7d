<?php

declare(strict_types=1);

require __DIR__ . '/../../autoload.php';

Folk\serve(tasks: static fn(Folk\Task $task): ?string => $task->name === 'silent' ? null : \strrev($task->payload));
