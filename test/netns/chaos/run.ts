import { appendFileSync } from 'node:fs';
import { runChaos } from './chaos.ts';
const [from = 1, count = 1, steps = 12, out = '/tmp/chaos/runs'] = [Number(process.argv[2]), Number(process.argv[3]), Number(process.argv[4]), process.argv[5]];
const only = process.env['ONLY'] ? new Set(process.env['ONLY'].split(',').map(Number)) : undefined;
for (let seed = from; seed < from + count; seed++) {
  const file = `${out}/${seed}.log`;
  const mode = process.env['MODE'] ?? ['soft', 'all', 'two'][seed % 3];
  const startMs = performance.now();
  const wrong = await runChaos({ seed, steps, hosts: mode === 'two' ? 2 : 1, isSoft: mode === 'soft', only, tell: (words) => appendFileSync(file, `${words}\n`) }).catch((e: unknown) => [`error ${String((e as Error).stack)}`]);
  console.log(`seed ${seed} ${mode} ${Math.round((performance.now() - startMs) / 1000)} s: ${wrong.length === 0 ? 'ok' : `\n   ${wrong.join('\n   ')}`}`);
}
