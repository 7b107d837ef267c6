/**
 * @file The regular expressions with which the families that are known here split a text before BPE, as their tokenizer files spell them.
 */
const spellings = [
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
  // Without the group's flag, which JavaScript before 2025 cannot compile.
  "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
];
const patterns = (digits: string) =>
  spellings.map(
    (contractions) =>
      `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  );

export const splitPatterns = { qwen2: patterns('\\p{N}'), llama3: patterns('\\p{N}{1,3}') };

const linear = new Set(Object.values(splitPatterns).flat());

/** Whether `pattern` is known to take time that grows as the text does. Any other may backtrack for longer than anyone waits. */
export const isLinearPattern = (pattern: string): boolean => linear.has(pattern);
