/*
 * Runs on furiwake's host: `node heap.ts` makes the Node process with an open inspector collect its garbage, and prints
 * the number of heap bytes in use then.
 */
import { setTimeout as sleep } from 'node:timers/promises';

type Target = { readonly webSocketDebuggerUrl: string };

async function inspector(): Promise<string> {
  for (;;) {
    try {
      const [target] = (await (await fetch('http://127.0.0.1:9229/json/list')).json()) as Target[];
      if (target !== undefined) return target.webSocketDebuggerUrl;
    } catch {
      await sleep(50); // not open yet
    }
  }
}

const socket = new WebSocket(await inspector());
const answers = new Map<number, (result: unknown) => void>();
socket.addEventListener('message', ({ data }) => {
  const { id, result } = JSON.parse(String(data)) as { id: number; result: unknown };
  answers.get(id)?.(result);
});
await new Promise((resolve) => {
  socket.addEventListener('open', resolve);
});
const ask = (id: number, method: string): Promise<unknown> =>
  new Promise((resolve) => {
    answers.set(id, resolve);
    socket.send(JSON.stringify({ id, method }));
  });
await ask(1, 'HeapProfiler.collectGarbage');
const { usedSize } = (await ask(2, 'Runtime.getHeapUsage')) as { usedSize: number };
process.stdout.write(`${usedSize}\n`);
process.exit();
