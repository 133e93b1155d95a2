# %% [markdown] seconds=20
# # 00 · The first minute
#
# A convolutional network learns to read digits, on this machine, in about the time it takes to read this page.
# Nothing is downloaded: the digits are drawn from matplotlib's fonts, then turned, moved and made noisy.
#
# There is one catch. The test images come from font families that training never sees. A network that only remembers
# shapes will do badly; one that has the idea of a 7 will do well.

# %%
import math

import numpy as np

import tinycnn as tc
from tinycnn import nn, plotting
from tinycnn.data import DataLoader, Glyphs
from tinycnn.lesson import FAST, check, fit, show
from tinycnn.training import evaluate

tc.manual_seed(0)
count, size, epochs = (2500, 16, 5) if FAST else (5000, 28, 5)
train, test = Glyphs("train", size, count=count), Glyphs("test", size, count=count // 4)
print(
    f"{len(train):,} training images, {len(test):,} test images of {size}x{size} pixels, {len(train.classes)} classes"
)
print("fonts to train on:", len(set(train.fonts)), "- fonts to test on:", len(set(test.fonts)))

figure = plotting.new_figure(9, 3)
for axes, image in zip(figure.subplots(3, 10).flat, [*train.images[:20], *test.images[:10]]):
    axes.imshow(image[0], cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
show(figure, "Each class three times. The first two rows are training images, the last row has the test fonts.")

# %% [markdown]
# ## The network
#
# Two convolutions look for small patterns. Pooling halves the map after each of them. One linear layer turns what was
# found into ten scores. `tc.summary` shows each layer: its output, its parameters, its cost, and how many input
# pixels one of its outputs can see.

# %%
train.transform = test.transform = tc.data.transforms.Normalize.of(train.images)
net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(32 * (size // 4) ** 2, 10),
)
table = tc.summary(net, (1, size, size))
print(table)

# %% [markdown]
# ## Predict
#
# > Write down three numbers before you continue. How many of 100 test images will the network get right before it has
# > learned anything? How many after training? And which two digits will it confuse most?
#
# There is a fourth number you can work out. A network that knows nothing gives each of ten classes about the same
# probability, so its cross-entropy should be close to $\ln 10$.

# %%
before = evaluate(net, DataLoader(test, 256))
print(f"before training: {100 * before.accuracy:.1f} % right, loss {before.loss:.3f}; ln 10 is {math.log(10):.3f}")

# %% [markdown]
# ## Train
#
# Each step takes 32 images, computes the loss, walks back through the network to get the gradient of the loss for
# each parameter, and moves every parameter a little downhill. `fit` does that for all images, several times; each
# time is an epoch.

# %%
trainer = fit(net, train, test, epochs, lr=0.05, batch_size=32)
after = trainer.evaluation
for row in trainer.history:
    print(
        f"epoch {row['epoch']}: training {100 * row['train_accuracy']:5.1f} %, "
        f"test {100 * row['test_accuracy']:5.1f} % right"
    )
show(
    plotting.learning_curves(trainer.history),
    "Loss falls and accuracy rises. The gap between the curves is the price of fonts never seen.",
)

# %% [markdown]
# ## What it gets wrong
#
# An accuracy is one number. A confusion matrix is a hundred: row by row, what each digit was taken for. A perfect
# network has a dark diagonal and nothing else. Is your pair among the darkest cells beside it?

# %%
wrong = after.confusion.copy()
np.fill_diagonal(wrong, 0)
true, taken = np.unravel_index(wrong.argmax(), wrong.shape)
print(f"most often wrong: a {true} taken for a {taken}, {wrong[true, taken]} times of {after.confusion[true].sum()}")
show(plotting.confusion_matrix(after.confusion, test.classes), "True digit by row, answer of the network by column.")
show(
    plotting.prediction_grid(test.images, test.labels, after.probabilities, test.classes, 24),
    "The mistakes it was surest of come first. Some would fool a reader too.",
)

# %% [markdown]
# ## What you saw
#
# The lines below are claims about this very run. Every lesson ends with such lines, and the test suite runs them all.
# If you change the code and a claim no longer holds, the lesson stops there and says which.

# %%
check("before training the network guesses: at most 25 % right", before.accuracy <= 0.25)
check("its loss is then within 0.3 of ln 10", abs(before.loss - math.log(10)) < 0.3)
check("after training it reads most digits in fonts it has never seen", after.accuracy > 0.6)
check("it does better on the fonts it was trained on", trainer.history[-1]["train_accuracy"] > after.accuracy)

# %% [markdown]
# ## Exercises
#
# 1. Set `padding=0` in both convolutions. The linear layer no longer fits: read the error, and repair the size. Did
#    accuracy change?
# 2. Take out both `nn.ReLU()`. The network has the same parameters. What happens to the test accuracy, and why?
#    (Lesson 05 has the proof.)
# 3. Make the glyphs clean with `difficulty=0.0` for training only. Training accuracy goes up. What about the test,
#    and what does that say about where your training data should come from?
