/** @file What a `--task` file gets when it imports 'tinyzero'. Loaded only when a task asks for it. */
import type { TaskApi } from '../data/task-file.js';

export const taskApi: TaskApi = () => import('../index.js');
