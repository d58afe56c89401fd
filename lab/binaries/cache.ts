import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import type { Recipe } from './recipes.ts';

/** The folder of everything that the lab builds once: `$XDG_CACHE_HOME/furiwake/lab`, or the same below `~/.cache`. */
export function cacheFolder(): string {
  return path.join(process.env['XDG_CACHE_HOME'] || path.join(homedir(), '.cache'), 'furiwake', 'lab');
}

/** A recipe's place in the cache; another version, flag or module sum is another place. */
export async function recipeFolder(recipe: Recipe): Promise<string> {
  const pins = recipe.compiler[0] === 'go' ? ['go.mod', 'go.sum'] : recipe.binaries.map((binary) => binary.source);
  const texts = await Promise.all(pins.map((pin) => readFile(path.join(recipe.folder, pin), 'utf8')));
  const key = shortHash([...recipe.compiler, ...texts]);
  return path.join(cacheFolder(), `${recipe.name}-${recipe.version}-${process.arch}-${key}`);
}

/** A name that depends on all of `texts`. */
export function shortHash(texts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(texts)).digest('hex').slice(0, 12);
}
