import { endBySignal, otherSignals } from '../../src/main/node/signals.ts';

/* A process that handles signals as furiwake does, for src/main/node/signals.test.ts. With an argument its end takes long. */
const end = endBySignal();
const { attend } = otherSignals();
const say = (text: string): void => void process.stdout.write(`${text}\n`);
const log = {
  debug: say,
  info: (_: object, text: string) => say(text),
  warn: say,
  error: say,
  child: () => log,
} as never;
attend(log, () => say('reload'));
const alive = setInterval(() => undefined, 1_000);
end.addEventListener('abort', () => {
  say((end.reason as Error).message);
  if (process.argv[2] === undefined) clearInterval(alive);
});
say('ready');
