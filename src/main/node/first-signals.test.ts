import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** Sends SIGHUP to the process while its second module runs. */
const hook = `
import { registerHooks } from 'node:module';
registerHooks({
  load: (url, context, next) => {
    const loaded = next(url, context);
    const isSecond = url.endsWith('/src/main/node/heap.ts');
    return isSecond ? { ...loaded, source: "process.kill(process.pid, 'SIGHUP');" + loaded.source } : loaded;
  },
});`;

test('a SIGHUP while the program is being loaded does not end it', () => {
  const program = fileURLToPath(new URL('../furiwake.ts', import.meta.url));
  const preload = ['--import', `data:text/javascript,${encodeURIComponent(hook)}`];
  const { status, signal } = spawnSync(process.execPath, [...preload, program, 'version']);
  expect({ status, signal }).toEqual({ status: 0, signal: null });
});
