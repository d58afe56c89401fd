import { ExecError } from '../../src/ports/exec.ts';
import { environment, run } from '../machine/run.ts';
import type { Recipe } from './recipes.ts';

/** A build takes minutes; one that takes this long hangs. */
const timeoutMs = 60 * 60_000;

/**
 * Builds one program of a recipe into the file `output`; `tell` gets the progress.
 *
 * @throws ExecError with the message of the compiler.
 */
export async function compile(
  recipe: Recipe,
  source: string,
  output: string,
  tell: (how: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const options = { signal, timeoutMs, cwd: recipe.folder, env: { ...environment(), CGO_ENABLED: '0' } };
  if (recipe.compiler[0] !== 'go') {
    await run([...recipe.compiler, '-o', output, source], options);
    return;
  }
  const onDownload = (text: string): void => {
    const module = downloaded(text);
    if (module !== undefined) tell(`downloading ${module}`);
  };
  const tests = recipe.compiler[1] === 'test' ? ['-test'] : []; // `go test` does not name what it compiles: only downloads are shown
  const packages = await run(['go', 'list', '-deps', ...tests, source], { ...options, onStderr: onDownload });
  const total = packages.stdout.trim().split('\n').length;
  let compiled = 0;
  const onCompiled = (text: string): void => {
    compiled += packagesIn(text);
    tell(`${compiled} of at most ${total} packages`); // those in Go's own cache are not compiled
  };
  try {
    await run([...recipe.compiler, '-o', output, source], { ...options, onStderr: onCompiled });
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    throw new ExecError(error.command, error.exitCode, complaints(error.stderr), { cause: error });
  }
}

/** The last module in `text` that Go downloads. */
export function downloaded(text: string): string | undefined {
  return [...text.matchAll(/^go: downloading (\S+)/gm)].at(-1)?.[1];
}

/** The number of packages in the output of `go build -v`: one line for each that it compiles. */
export function packagesIn(text: string): number {
  return text.split('\n').filter(isPackage).length;
}

/** The rest of Go's output: the last lines, which have the error. */
export function complaints(text: string): string {
  const lines = text.split('\n').filter((line) => line !== '' && !isPackage(line));
  return lines.slice(-20).join('\n');
}

function isPackage(line: string): boolean {
  return /^[^\s:#]+$/.test(line);
}
