/* Classifies the images of a file with the library that the demo builds: no Python, no other library.
 *
 *     cc digits.c libdigits.a -o digits && ./digits digits.weights images
 *
 * The file holds images of 8 by 8 floats, one after another. Prints the digit that each one is taken for.
 */
#include "digits.h"

#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 64, BATCH = 32 };

static void *whole(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    void *memory = NULL;
    if (file == NULL) return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    memory = aligned_alloc(DIGITS_ALIGNMENT, (*size + DIGITS_ALIGNMENT - 1) / DIGITS_ALIGNMENT * DIGITS_ALIGNMENT);
    if (memory != NULL && fread(memory, 1, *size, file) != *size) *size = 0;
    fclose(file);
    return memory;
}

int main(int argc, char **argv) {
    size_t size = 0, weights_size = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: %s digits.weights images\n", argv[0]);
        return 2;
    }
    void *weights = whole(argv[1], &weights_size);
    const float *images = whole(argv[2], &size);
    void *arena = aligned_alloc(DIGITS_ALIGNMENT, (DIGITS_ARENA_MAX + DIGITS_ALIGNMENT - 1) / DIGITS_ALIGNMENT * DIGITS_ALIGNMENT);
    float logits[BATCH][10];
    digits_how how = {digits_cpu_level(), NULL, NULL};
    if (weights_size != DIGITS_WEIGHTS_BYTES || images == NULL || arena == NULL) {
        fprintf(stderr, "a file can't be read\n");
        return 1;
    }
    size_t count = size / (PIXELS * sizeof(float));
    for (size_t first = 0; first < count; first += BATCH) {
        int64_t batch = (int64_t)(count - first < BATCH ? count - first : BATCH);
        digits_predict_in in = {batch, images + first * PIXELS};
        digits_predict_out out = {logits[0]};
        digits_status status = digits_predict(&in, &out, arena, DIGITS_ARENA_MAX, weights, &how);
        if (status != DIGITS_OK) {
            fprintf(stderr, "%s\n", digits_status_text(status));
            return 1;
        }
        for (int64_t i = 0; i < batch; i++) {
            int best = 0;
            for (int k = 1; k < 10; k++)
                if (logits[i][k] > logits[i][best]) best = k;
            printf("%d\n", best);
        }
    }
    return 0;
}
